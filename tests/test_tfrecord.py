import contextlib
import random
import struct
from pathlib import Path

import pytest

from magvit.data.sources.tfrecord import crc32c, parse_example, read_payload, record_offsets
from tfrecord_writer import crc32c_by_bits, example, field, write_tfrecord


def test_checksum_of_the_standard():
    """The check value of CRC-32C, and the examples of RFC 3720, appendix B.4."""
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"") == 0


@pytest.mark.parametrize("size", [1, 8, 1023, 1024, 1025, 2047, 2048, 5000, 20_000])
def test_checksum_in_lanes_is_that_bit_by_bit(size):
    data = random.Random(size).randbytes(size)
    assert crc32c(data) == crc32c_by_bits(data)


@pytest.mark.parametrize("packed", [True, False])
def test_all_kinds_of_features(packed):
    features = {"image": [b"\0\xff" * 100, b""], "floats": [1.5, -0.25, 3e7]}
    assert parse_example(example(features, packed)) == features


def test_feature_lists_of_a_sequence_example_are_passed_over():
    context = example({"0/action": [0.5]})
    assert parse_example(context + field(2, b"\x0a\x03any")) == {"0/action": [0.5]}
    assert parse_example(b"") == {}
    assert parse_example(field(1, field(1, field(1, b"empty")))) == {"empty": []}


@pytest.mark.parametrize("payload", [b"\x0a", b"\x0a\x7f", b"\xff" * 20, b"\x0b", example({"a": [1.0]})[:-1]])
def test_what_is_no_message_is_a_value_error(payload):
    with pytest.raises(ValueError, match=r"is no tf\.train\.Example"):
        parse_example(payload)


def test_any_damage_is_a_value_error():
    good = example({"image": [b"abc" * 10], "floats": [1.0, 2.0]})
    draw = random.Random(0)
    for _ in range(2000):
        damaged = bytearray(good)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        with contextlib.suppress(ValueError):
            parse_example(bytes(damaged[: draw.randrange(len(damaged))]))


def test_records_are_found_and_read(tmp_path: Path):
    path, payloads = tmp_path / "a.tfrecords", [b"one", b"", b"three" * 1000]
    write_tfrecord(path, payloads)
    offsets = list(record_offsets(path))
    assert offsets == [0, 19, 35]
    assert [read_payload(path, offset) for offset in offsets] == payloads


def test_a_damaged_payload_is_refused_and_the_others_are_not(tmp_path: Path):
    path = tmp_path / "a.tfrecords"
    write_tfrecord(path, [b"one", b"two", b"three"])
    data = bytearray(path.read_bytes())
    data[19 + 12] ^= 1
    path.write_bytes(data)
    offsets = list(record_offsets(path))
    with pytest.raises(ValueError, match="record at byte 19 has a wrong checksum"):
        read_payload(path, offsets[1])
    assert read_payload(path, offsets[2]) == b"three"


@pytest.mark.parametrize(("end", "found"), [(18, 0), (20, 1), (30, 1), (37, 1), (45, 2)])
def test_a_cut_off_file_gives_its_whole_records_first(tmp_path: Path, end: int, found: int):
    path = tmp_path / "a.tfrecords"
    write_tfrecord(path, [b"one", b"two", b"three"])
    path.write_bytes(path.read_bytes()[:end])
    offsets = record_offsets(path)
    assert [next(offsets) for _ in range(found)] == [0, 19][:found]
    with pytest.raises(ValueError, match=r"a\.tfrecords .*cut off"):
        next(offsets)
    with pytest.raises(ValueError, match="cut off"):
        read_payload(path, 19 * found)


def test_another_file_is_refused_before_its_length_is_believed(tmp_path: Path):
    path = tmp_path / "a.tfrecords"
    path.write_bytes(struct.pack("<QI", 1 << 60, 0) + bytes(100))
    with pytest.raises(ValueError, match="no TFRecord at byte 0"):
        list(record_offsets(path))
    with pytest.raises(ValueError, match="no TFRecord at byte 0"):
        read_payload(path, 0)
