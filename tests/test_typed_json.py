"""JSON as dataclasses: every field is checked, and whatever is wrong is one sentence that names it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pytest

from magvit import typed_json


@dataclass(frozen=True)
class Inner:
    scale: float
    name: str | None


@dataclass(frozen=True)
class Outer:
    width: int
    flags: tuple[bool, ...]
    grid: tuple[int, int]
    padding: Literal["reflect", "zero"]
    inner: Inner

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"width is {self.width}, expected at least 1")


GOOD = Outer(3, (True, False, True), (4, 8), "zero", Inner(0.5, None))


def test_config_survives_json() -> None:
    assert typed_json.config_from_dict(Outer, json.loads(json.dumps(asdict(GOOD)))) == GOOD


def test_whole_numbers_are_floats_too() -> None:
    loaded = typed_json.config_from_dict(Inner, {"scale": 2, "name": "x"})
    assert loaded == Inner(2.0, "x")
    assert isinstance(loaded.scale, float)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, ["unknown field", '"colour"']),
        ({"width": None}, ["width is None", "int"]),
        ({"width": True}, ["width is True", "int"]),
        ({"width": 3.0}, ["width is 3.0", "int"]),
        ({"width": 0}, ["width is 0, expected at least 1"]),
        ({"flags": [1, 0]}, ["flags is 1", "bool"]),
        ({"flags": True}, ["flags is True"]),
        ({"grid": [1, 2, 3]}, ["grid is [1, 2, 3]", "tuple[int, int]"]),
        ({"padding": "mirror"}, ["padding is 'mirror'", "reflect", "zero"]),
        ({"inner": {"scale": "0.5", "name": None}}, ["inner: scale is '0.5'", "float"]),
        ({"inner": {"scale": 0.5}}, ["inner lacks", '"name"']),
        ({"inner": {"scale": 0.5, "name": 7}}, ["name is 7", "expected str"]),
        ({"inner": 5}, ["inner is 5", "Inner"]),
    ],
)
def test_a_bad_config_is_one_sentence_with_field_and_file(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"here\.json") as caught:
        typed_json.config_from_dict(Outer, asdict(GOOD) | change, "here.json")
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_missing_field_is_named_even_if_the_class_has_a_default() -> None:
    @dataclass(frozen=True)
    class Defaulted:
        width: int = 3

    with pytest.raises(ValueError, match='lacks the field "width"'):
        typed_json.config_from_dict(Defaulted, {})


def test_a_number_that_no_float_holds() -> None:
    with pytest.raises(ValueError, match="scale is 1000"):
        typed_json.config_from_dict(Inner, {"scale": 10**400, "name": None})


def test_json_lines_end_where_lines_end(tmp_path: Path) -> None:
    """Past bug: they were also split at U+2028, which may stand in a caption. A byte order mark is no part of them."""
    path = tmp_path / "lines.jsonl"
    lines = [{"text": "one\u2028two\x85"}, {"text": ""}]
    path.write_text("\ufeff" + "\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n\n")
    assert typed_json.read_json_lines(path) == lines
    path.write_text('{"a": 1}\n\n[]\n')
    with pytest.raises(ValueError, match=r"lines\.jsonl line 3 holds a JSON list"):
        typed_json.read_json_lines(path)
