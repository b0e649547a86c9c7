"""Names that others chose, as text of a Markdown file."""


def plain(text: object) -> str:
    """Any text as part of one line, or of one cell of a table: none of it is Markdown's or HTML's own."""
    return "".join(f"&#{ord(letter)};" if letter in "|<>[]`" else letter for letter in " ".join(str(text).split()))
