"""The one reader of JSON: files, lines, and dataclasses whose every field is checked; errors are one sentence."""

import dataclasses
import json
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def parse_json(text: str | bytes, where: str | Path, kind: type[T]) -> T:
    """A JSON list or object. ValueError, which names `where`, for anything else, and for one nested without end."""
    try:
        values = json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:  # bad JSON, bad UTF-8
        raise ValueError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(values, kind):
        raise ValueError(f"{where} holds a JSON {type(values).__name__}, expected {_JSON[kind]}")
    return values


_JSON: dict[type, str] = {dict: "an object", list: "a list"}


def read_json(path: Path, kind: type[T]) -> T:
    """The list or object in a JSON file. OSError if it is not there; ValueError as `parse_json`."""
    return parse_json(path.read_bytes(), path, kind)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one a line. Raises as `read_json`, with the number of the line."""
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")  # other line ends may stand inside strings
    numbered = enumerate(lines, start=1)
    return [parse_json(line, f"{path} line {number}", dict) for number, line in numbered if line.strip()]


def optional(default: T) -> T:
    """A dataclass field that a JSON file may lack: it came after the first files were written, or is seldom needed."""
    return dataclasses.field(default=default, metadata={"optional": True})


def config_from_dict(kind: type[T], values: Any, where: str = "config.json") -> T:
    """Build the dataclass `kind` from JSON `values`: none unknown, each of its annotated type, and every field present
    but those declared by `optional`, which then take their defaults.

    Understands int, float, str, bool, None, `Literal`, tuples (JSON lists), dicts, unions and nested dataclasses.

    Raises:
        ValueError: one sentence with `where` (the file, or file and section), the field and what was expected.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}, expected an object with the fields of {kind.__name__}")
    hints, needed = _fields(kind)  # type: ignore[arg-type]
    if unknown := sorted(values.keys() - hints):
        raise ValueError(f"{where} has the unknown field {_quoted(unknown)}, expected {_quoted(sorted(hints))}")
    if missing := sorted(needed - values.keys()):
        raise ValueError(f"{where} lacks the field {_quoted(missing)} of {kind.__name__}")
    loaded = {name: _typed(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return kind(**loaded)
    except ValueError as error:  # the dataclass's own checks
        raise ValueError(f"{where}: {error}") from error


@cache  # of half a million records
def _fields(kind: type) -> tuple[dict[str, Any], frozenset[str]]:
    """The types of a dataclass's fields, and the names of those that have to be there."""
    fields, hints = [field for field in dataclasses.fields(kind) if field.init], get_type_hints(kind)
    needed = frozenset(field.name for field in fields if not field.metadata.get("optional"))
    return {field.name: hints[field.name] for field in fields}, needed


def _typed(hint: Any, value: Any, where: str) -> Any:
    if type(value) is hint:
        return value
    origin, args = get_origin(hint), get_args(hint)
    if dataclasses.is_dataclass(hint):
        return config_from_dict(hint, value, where)  # type: ignore[arg-type]
    if origin in (Union, types.UnionType):
        if type(value) in args:  # None too
            return value
        options = [option for option in args if option is not type(None)]
        tagged = [(get_type_hints(option).get("kind"), option) for option in filter(dataclasses.is_dataclass, options)]
        kinds = {kind: option for tag, option in tagged for kind in get_args(tag)}
        if kinds and isinstance(value, Mapping):  # a tagged union
            if value.get("kind") not in kinds:
                raise ValueError(f"{where}: kind is {value.get('kind')!r}, expected one of {', '.join(kinds)}")
            return _typed(kinds[value["kind"]], value, where)
        if len(options) == 1:  # so that the message is about the one thing it can be
            return _typed(options[0], value, where)
        for option in options:
            try:
                return _typed(option, value, where)
            except ValueError:
                continue
    elif origin is Literal:
        if any(value == option and type(value) is type(option) for option in args):
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            if args[1:] == (Ellipsis,) and set(map(type, value)) == {args[0]}:  # quick, for a million of them
                return tuple(value)
            each = [args[0]] * len(value) if args[1:] == (Ellipsis,) else list(args)
            if len(each) == len(value):
                return tuple(_typed(item_hint, item, where) for item_hint, item in zip(each, value, strict=True))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value)
    raise ValueError(f"{where} is {value!r}, expected {_spelled(hint)}")


def _spelled(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
