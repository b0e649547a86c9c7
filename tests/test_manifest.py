import json
from dataclasses import fields
from pathlib import Path

import pytest

from magvit.data.datasets import ClipFolder
from magvit.data.manifest import Manifest, Record, is_manifest, load_manifest, save_manifest

FULL = Record("a/b.mp4", 3, "train", 20, 12.5, 240, 320, "0f", 1.5, 3.0, ("x.jpg", "y.jpg"), "ein Kätzchen", 7, True)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert all(getattr(FULL, field.name) != field.default for field in fields(Record))
    manifest = Manifest("mine", tmp_path, ("run", "jump", "hop", "sit"), (FULL, Record("c.mp4")))
    assert not is_manifest(tmp_path)
    save_manifest(manifest, tmp_path / "deep" / "er")
    assert is_manifest(tmp_path / "deep" / "er")
    assert load_manifest(tmp_path / "deep" / "er") == manifest
    assert json.loads((tmp_path / "deep/er/records.jsonl").read_text().splitlines()[1]) == {"path": "c.mp4"}


def test_splits() -> None:
    manifest = Manifest("mine", Path(), (), (Record("a", split="x"), Record("b"), Record("c", split="x")))
    assert [record.path for record in manifest.split("x").records] == ["a", "c"]
    with pytest.raises(ValueError, match="mine has no split 'y', expected one of '', 'x'"):
        manifest.split("y")


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (Record("a.mp4"), "a.mp4"),
        (Record("a.mp4", start=1.5, end=3.0), "a.mp4@1.5-3"),
        (Record("a.mp4", end=3.0), "a.mp4@0-3"),
        (Record("a.mp4", start=2.0), "a.mp4@2-end"),
        (Record("a.mp4", start=36000.125, end=36001.0), "a.mp4@36000.125-36001"),
    ],
)
def test_clips_of_one_file_have_names_of_their_own(record: Record, name: str) -> None:
    assert record.name == name


@pytest.mark.parametrize(
    ("header", "records"),
    [
        ("{}", ""),
        ("[]", ""),
        ("{", ""),
        ('{"format": 1, "name": "a", "root": ".", "classes": []}', "{"),
        ('{"format": 1, "name": "a", "root": ".", "classes": []}', '{"path": "a", "of_the_future": 1}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": []}', '{"label": 1}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": []}', "[1]"),
        ('{"format": 7, "name": "a", "root": ".", "classes": []}', '{"path": "a"}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": "abc"}', '{"path": "a"}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": []}', '{"path": "a", "fps": "8"}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": []}', '{"path": "a", "images": "ab"}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": ["x"]}', '{"path": "a", "label": 1}'),
        ('{"format": 1, "name": "a", "root": ".", "classes": ["x"]}', '{"path": "a", "label": -2}'),
    ],
)
@pytest.mark.parametrize("file", ["config.json", "manifest.json"])
def test_what_is_no_manifest_is_told_in_one_sentence(tmp_path: Path, file: str, header: str, records: str) -> None:
    (tmp_path / file).write_text(header)
    (tmp_path / "records.jsonl").write_text(records)
    told = r"was not prepared by this version of magvit|is not valid JSON|holds a JSON list|has the label"
    with pytest.raises(ValueError, match=told):
        load_manifest(tmp_path)


def test_records_of_another_config_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past bug: after a kill between the two files, labels had another numbering's names."""
    save_manifest(Manifest("mine", tmp_path, ("cat",), (Record("a.mp4", 0),)), tmp_path)
    monkeypatch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_manifest(Manifest("mine", tmp_path, ("bird", "cat"), (Record("a.mp4", 1),)), tmp_path)
    with pytest.raises(ValueError, match=r"records\.jsonl is not the one that config\.json was written with"):
        load_manifest(tmp_path)


def test_sets_that_were_prepared_earlier_are_read(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "name": "a", "root": "/b", "classes": ["c"]}))
    (tmp_path / "records.jsonl").write_text('{"path": "d.mp4", "label": 0}\n')
    assert is_manifest(tmp_path)
    assert load_manifest(tmp_path) == Manifest("a", Path("/b"), ("c",), (Record("d.mp4", 0),))


def test_clips_that_have_moved(tmp_path: Path) -> None:
    """One sentence, not a warning for each clip."""
    save_manifest(Manifest("mine", tmp_path / "gone", (), (Record("a.mp4"),)), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"was prepared from .*gone, which does not exist: prepare it again"):
        ClipFolder(tmp_path, (4, 16, 16))
