"""How the page looks: colours that can be read, pictures with their titles above them, and nothing empty shown."""

import base64
import html
import io

import gradio

from magvit.serve.pictures import Picture
from magvit.video.writing import import_image

CSS = """
#magvit { max-width: 1200px; margin: 0 auto; }
#magvit .html-container { padding: 0; }
#magvit figure { margin: 0; }
#magvit figure + figure { margin-top: 0.75rem; }
#magvit figcaption { font-size: 0.875rem; margin-bottom: 0.25rem; }
#magvit figure img { width: 100%; }
#magvit img { image-rendering: pixelated; }
#state { font-weight: 600; min-height: 1.5em; }
#result video { max-height: 320px; }
/* titles above what they name, not over it */
[data-testid="block-label"] { position: static !important; border: 0 !important; }
/* nothing there yet */
#given:has(.empty), #result:has(.empty), #files:has(.empty) { display: none; }
/* gradio shows these beside downloads as well, where they do nothing */
#files .label-clear-button { display: none; }
"""
JS = """() => {
  document.documentElement.lang = 'en';
  const state = document.getElementById('state');
  if (state) { state.setAttribute('role', 'status'); state.setAttribute('aria-live', 'polite'); }
}"""


def theme() -> gradio.themes.Base:
    """Fonts of the system, and small print with a contrast of 4.5 or more."""
    quiet = {"": "*neutral_600", "_dark": "*neutral_300"}
    colours = {
        f"{name}{mode}": shades[mode]
        for names, shades in (
            (("body_text_color_subdued", "block_info_text_color", "block_title_text_color"), quiet),
            (("block_label_text_color", "input_placeholder_color"), quiet),
            (("button_primary_background_fill",), {"": "*primary_600", "_dark": "*primary_600"}),
            (("link_text_color",), {"": "*primary_700", "_dark": "*primary_300"}),
        )
        for name in names
        for mode in shades
    }
    return gradio.themes.Base(primary_hue="blue", font="system-ui", font_mono="monospace").set(**colours)


def figure(title: str, about: str, picture: Picture) -> str:
    """A picture below its title; `about` is read to those who cannot see it."""
    file = io.BytesIO()
    import_image().fromarray(picture).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    shown = f'<img alt="{html.escape(about)}" src="data:image/png;base64,{data}">'
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{shown}</figure>"


def said(text: str) -> str:
    """A sentence."""
    return f"<p>{html.escape(text)}</p>"
