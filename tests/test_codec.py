"""Clips as files of tokens: the tokens come back exactly, and what is no such file is told in one sentence."""

import itertools
import struct
import zlib
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from magvit.cli import main
from magvit.editing import codec
from magvit.editing.codec import decode_clip, encode_clip, read_tokens
from magvit.editing.streaming import Tiling, decode_frames, encode_frames
from magvit.editing.token_file import _FIELDS, Header, read_header
from magvit.video import Source, read_frames, write_video
from tiny_model import random_clip, tiny_pipeline

TILING = Tiling(16, 8)
RATE = Fraction(30000, 1001)


@pytest.fixture(scope="module")
def pipe():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def files(pipe, tmp_path_factory):
    """A clip of 11 frames of 21x18 in each coding."""
    folder = tmp_path_factory.mktemp("codec")
    for coding in ("uniform", "adaptive", "transformer"):
        path = folder / f"{coding}.magvit"
        encode_clip(pipe, clip().unbind(1), RATE, path, coding=coding, num_steps=3, tiling=TILING, model="tiny")
    return folder


def clip():
    return random_clip(11, 18, 21).mul(255).byte()


@pytest.mark.parametrize("coding", ["uniform", "adaptive", "transformer"])
def test_tokens_and_frames_come_back(pipe, files, coding):
    path = files / f"{coding}.magvit"
    expected = list(encode_frames(pipe.tokenizer, clip().unbind(1), 8, TILING))
    for (tokens, count), (same, frames) in zip(expected, read_tokens(path, pipe), strict=True):
        assert torch.equal(tokens, same)
        assert count == frames
    header = read_header(path)
    assert (header.num_frames, header.height, header.width, header.fps) == (11, 18, 21, RATE)
    assert (header.coding, header.tiling, header.model) == (coding, TILING, "tiny")
    frames = list(decode_clip(pipe, path))
    made = decode_frames(pipe.tokenizer, expected, (18, 21), TILING)
    assert all(torch.equal(*pair) for pair in zip(frames, made, strict=True))


def test_tokens_are_read_without_a_model_but_for_the_transformers(files):
    assert len(list(read_tokens(files / "adaptive.magvit"))) == 2
    with pytest.raises(ValueError, match="coded by the transformer of 'tiny', which is needed"):
        read_tokens(files / "transformer.magvit")


@pytest.mark.parametrize("name", ["tokenizer", "transformer"])
def test_another_model_is_refused(files, name):
    other = tiny_pipeline()
    next(iter(getattr(other, name).parameters())).data.add_(0.01)
    with pytest.raises(ValueError, match=rf"by the {name} of 'tiny' \([0-9a-f]{{8}}\), and this is another one"):
        decode_clip(other, files / "transformer.magvit")


def test_other_probabilities_are_found_out(pipe, files, monkeypatch):
    """A processor that rounds in another way gives other frequencies, sooner or later."""
    real = codec.Foretold._probabilities
    monkeypatch.setattr(codec.Foretold, "_probabilities", lambda *state: real(*state) ** 1.0001)
    with pytest.raises(ValueError, match=r"probabilities in chunk 0 are not those of encoding: .* PyTorch .* this is"):
        list(decode_clip(pipe, files / "transformer.magvit"))


def damaged(path, seed):
    """A byte changed anywhere, or the end cut off."""
    data = bytearray(path.read_bytes())
    random = torch.Generator().manual_seed(seed)
    place = int(torch.randint(len(data), (), generator=random))
    if seed % 3 == 0:
        return bytes(data[:place])
    data[place] ^= 1 + int(torch.randint(255, (), generator=random))
    return bytes(data)


def sealed(data):
    """With a checksum that is right."""
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


@pytest.mark.parametrize("coding", ["uniform", "adaptive"])
@pytest.mark.parametrize("seal", [False, True], ids=["damaged", "forged"])
def test_no_damaged_file_is_read(files, tmp_path, coding, seal):
    """By chance, or on purpose with the right checksum: where tokens come out, they are as many as were said."""
    bad = tmp_path / "bad.magvit"
    for seed in range(60):
        data = damaged(files / f"{coding}.magvit", seed)
        bad.write_bytes(sealed(data) if seal else data)
        told, grids = None, []
        try:
            header = read_header(bad)
            grids = list(read_tokens(bad))
        except ValueError as error:
            told = str(error)
        assert told is not None or seal
        assert told is None or (str(bad) in told and "\n" not in told)
        assert told is not None or {tuple(tokens.shape) for tokens, _ in grids} == {header.grid}


FIELDS = ["magic", "version", "coding", "height", "width", "num_frames", "numerator", "denominator", "tokenizer"]
FIELDS += ["transformer", "chunk_frames", "t", "h", "w", "codebook_size", "num_steps", "tile", "overlap"]
LIES = {
    "no such file": ({"magic": b"ftyp42"}, "expected a file of tokens"),
    "later version": ({"version": 9}, "version 9"),
    "unknown coding": ({"coding": 77}, "coding 77"),
    "no frames": ({"num_frames": 0}, "num_frames is 0"),
    "no height": ({"height": 0}, "height is 0"),
    "huge frames": ({"height": 2**31, "width": 2**31}, "height is 2147483648"),
    "large frames": ({"height": 2**14, "width": 2**13}, "pixels of a frame is"),
    "endless": ({"num_frames": 2**32 - 1}, "cannot hold the tokens of 4294967295 frames"),
    "huge grid": ({"height": 8000, "width": 8000, "h": 4000, "w": 4000}, "tokens of a chunk is 32000000"),
    "large grid": ({"height": 8000, "width": 8000, "h": 2000, "w": 2000}, "cannot hold the tokens"),
    "long chunks": ({"chunk_frames": 60000}, "chunk_frames is 60000"),
    "no rate": ({"numerator": 0}, "fps is 0"),
    "wild rate": ({"denominator": 0, "numerator": 5000}, "fps is 5000"),
    "no codes": ({"codebook_size": 0}, "codebook_size is 0"),
    "many codes": ({"codebook_size": 60000}, "codebook_size is 60000"),
    "tiles without end": ({"tile": 8, "overlap": 8}, "overlap is 8"),
}


@pytest.mark.parametrize(("changes", "message"), LIES.values(), ids=LIES.keys())
def test_a_lying_header_is_one_sentence(files, tmp_path, changes, message):
    data = (files / "adaptive.magvit").read_bytes()
    values = dict(zip(FIELDS, _FIELDS.unpack_from(data), strict=True)) | changes
    bad = tmp_path / "bad.magvit"
    bad.write_bytes(sealed(_FIELDS.pack(*values.values()) + data[_FIELDS.size :]))
    with pytest.raises(ValueError, match=message) as raised:
        read_tokens(bad)
    assert str(bad) in str(raised.value)


def test_a_chunk_cannot_be_larger_than_its_file(files, tmp_path):
    data = bytearray((files / "adaptive.magvit").read_bytes())
    begin = len(read_header(files / "adaptive.magvit").to_bytes())
    data[begin : begin + 4] = struct.pack("<I", 2**31)
    (tmp_path / "bad.magvit").write_bytes(sealed(bytes(data)))
    with pytest.raises(ValueError, match="a chunk of 2147483648 bytes cannot be in it"):
        list(read_tokens(tmp_path / "bad.magvit"))


def test_chunks_that_the_model_does_not_make(pipe, files, tmp_path):
    """Right fingerprints do not make it right: a forged file could ask for chunks of any length."""
    data = (files / "adaptive.magvit").read_bytes()
    header = read_header(files / "adaptive.magvit")
    forged = replace(header, chunk_frames=1000)
    (tmp_path / "bad.magvit").write_bytes(sealed(forged.to_bytes() + data[len(header.to_bytes()) :]))
    with pytest.raises(ValueError, match="chunks of 1000 frames in 2x5x6 tokens, which this model does not make"):
        decode_clip(pipe, tmp_path / "bad.magvit")


def test_long_names_are_cut_and_the_header_has_one_length():
    header = Header(18, 21, 1, RATE, 8, (2, 5, 6), 32, model="n" * 300)
    assert len(header.to_bytes()) == len(replace(header, num_frames=2**32 - 1).to_bytes())


def test_nothing_is_left_of_a_clip_that_ends_badly(pipe, tmp_path):
    frames = itertools.chain(clip().unbind(1), [torch.zeros(3, 4, 4)])
    with pytest.raises(ValueError, match="frame 11 has shape"):
        encode_clip(pipe, frames, RATE, tmp_path / "out.magvit")
    with pytest.raises(ValueError, match="no frames"):
        encode_clip(pipe, [], RATE, tmp_path / "out.magvit")
    assert list(tmp_path.iterdir()) == []


# --- Commands -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(pipe, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    pipe.save_pretrained(home / "model")
    write_video(home / "clip.mp4", random_clip(11, 18, 22), fps=float(RATE))
    return home


def run(home, command):
    return main([word.replace("@", f"{home}/") for word in command.split()])


@pytest.mark.parametrize("coding", ["uniform", "adaptive", "transformer --num-steps 2"])
def test_commands(home, capsys, coding):
    common = "--model @model --device cpu"
    assert run(home, f"encode @clip.mp4 --output @a.magvit --coding {coding} --tile 16 --overlap 4 {common}") == 0
    assert "11 frames of 22x18 in" in capsys.readouterr().out
    assert run(home, f"decode @a.magvit --output @back.mp4 {common}") == 0
    source, back = Source.open(home / "clip.mp4"), Source.open(home / "back.mp4")
    assert (back.height, back.width, back.num_frames, back.fps) == (18, 22, 11, source.fps)
    assert read_frames(home / "back.mp4").shape == (3, 11, 18, 22)


WRONG = {
    "no clip": ("encode @none.mp4 --output @b.magvit", "none.mp4"),
    "a clip for a file": ("decode @clip.mp4 --output @b.mp4", "expected a file of tokens"),
    "another suffix": ("encode @clip.mp4 --output @b.mp4", "expected .magvit"),
    "decoded into a picture": ("decode @a.magvit --output @b.png", "expected .mp4"),
    "too many steps": ("encode @clip.mp4 --output @b.magvit --coding transformer --num-steps 33", "num_steps is 33"),
    "overlap": ("encode @clip.mp4 --output @b.magvit --tile 8 --overlap 9", "tile overlap is 9"),
    "another model": ("decode @a.magvit --output @b.mp4 --model magvit-tiny", "and this is another one"),
}


@pytest.mark.parametrize(("command", "message"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input(home, pipe, capsys, command, message):
    encode_clip(pipe, clip().unbind(1), RATE, home / "a.magvit", model="tiny")
    model = "" if "--model" in command else "--model @model"
    assert run(home, f"{command} {model}") == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert message in told
    assert not list(home.glob("b.*"))
