"""TFRecord files and the `tf.train.Example` messages in them, read without TensorFlow.

A file is a row of records: length (8 bytes), checksum of these, payload, checksum of that; all little-endian. The
checksum is CRC-32C (Castagnoli), rotated and shifted by a constant ("masked"), as the TFRecord format defines it.

An `Example` is a protocol-buffer message with one map from names to lists of bytes, floats or integers (which BAIR does
not have, and which are not read). A `SequenceExample` keeps the map of its context in the same place.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

Feature = list[bytes] | list[float]

_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_LANES = 1024  # parts of a long message that are worked on at once; a power of two


def record_offsets(path: Path) -> Iterator[int]:
    """The byte offset of each record, in order; payloads are skipped, not read.

    Raises:
        OSError: the file cannot be read.
        ValueError: after the last whole record, if the file is cut off or not a TFRecord file.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        offset = number = 0
        while offset < size:
            end = offset + _HEADER.size + _length(path, file.read(_HEADER.size), offset) + _FOOTER.size
            if end > size:
                raise ValueError(f"{path} is cut off in its record {number}, at byte {offset} of {size}")
            yield offset
            file.seek(end)
            offset, number = end, number + 1


def read_payload(path: Path, offset: int) -> bytes:
    """The payload of the record that begins at byte `offset`, both checksums verified.

    Raises:
        OSError: the file cannot be read.
        ValueError: no whole record is there, or a checksum is wrong.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        length = _length(path, file.read(_HEADER.size), offset)
        if offset + _HEADER.size + length + _FOOTER.size > path.stat().st_size:
            raise ValueError(f"{path} is cut off in the record at byte {offset}")
        payload = file.read(length)
        if _FOOTER.unpack(file.read(_FOOTER.size)) != (masked_crc32c(payload),):
            raise ValueError(f"{path} is damaged: the record at byte {offset} has a wrong checksum")
    return payload


def _length(path: Path, header: bytes, offset: int) -> int:
    """What a record's header says, if it is one."""
    if len(header) == _HEADER.size:
        length, checksum = _HEADER.unpack(header)
        if checksum == masked_crc32c(header[:8]):
            return length
    raise ValueError(f"{path} has no TFRecord at byte {offset}: the length there has a wrong checksum or is cut off")


# --- Checksums ------------------------------------------------------------------------------------------------------


def masked_crc32c(data: bytes) -> int:
    """CRC-32C, rotated right by 15 bits, plus a constant: what TFRecord files store."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """CRC-32C of `data`.

    One byte b takes the register r to table[(r ^ b) & 255] ^ (r >> 8), which is linear (over bits) in r and b. So the
    message is cut into lanes, whose registers go on side by side from 0; a lane's result and the next lane's then make
    the result of both: the first, taken through as many zero bytes as the next lane has, XOR the second.
    """
    table = _table()
    head = len(data) % _LANES
    register = 0xFFFFFFFF
    for byte in data[:head]:
        register = int(table[(register ^ byte) & 255]) ^ register >> 8
    lanes = np.frombuffer(data, np.uint8, offset=head).reshape(_LANES, -1) if len(data) > head else None
    if lanes is not None:
        registers = np.zeros(_LANES, np.uint32)
        registers[0] = register
        for column in np.ascontiguousarray(lanes.T):
            registers = table[(registers ^ column) & 255] ^ registers >> 8
        zeros = _zero_bytes(lanes.shape[1])
        while len(registers) > 1:
            registers = _apply(zeros, registers[::2]) ^ registers[1::2]
            zeros = _apply(zeros, zeros)
        register = int(registers[0])
    return register ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """What eight zero bits make of each value of a register's low byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@lru_cache(maxsize=16)
def _zero_bytes(count: int) -> np.ndarray:
    """The linear map of registers that `count` zero bytes are, as the images of the 32 single bits."""
    images = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(count):
        images = _table()[images & 255] ^ images >> 8
    return images


def _apply(images: np.ndarray, registers: np.ndarray) -> np.ndarray:
    bits = registers[:, None] >> np.arange(32, dtype=np.uint32) & 1
    return np.bitwise_xor.reduce(bits * images, axis=1)


# --- Messages -------------------------------------------------------------------------------------------------------


def parse_example(payload: bytes) -> dict[str, Feature]:
    """The features of a serialized `tf.train.Example`, or of a `SequenceExample`'s context, by name.

    Raises:
        ValueError: it is no such message.
    """
    try:
        features: dict[str, Feature] = {}
        for number, message in _fields(payload):
            if number == 1 and isinstance(message, bytes):  # Example.features, SequenceExample.context
                for entry_number, entry in _fields(message):
                    if entry_number == 1 and isinstance(entry, bytes):  # Features.feature, a map
                        key_and_value = dict(_fields(entry))
                        name, value = key_and_value[1], key_and_value.get(2, b"")
                        assert isinstance(name, bytes)
                        assert isinstance(value, bytes)
                        features[name.decode()] = _feature(value)
        return features
    except (AssertionError, IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
        raise ValueError(f"a record of {len(payload)} bytes is no tf.train.Example ({type(error).__name__})") from error


def _feature(message: bytes) -> Feature:
    """`Feature`: bytes_list = 1 or float_list = 2, with its values in field 1; integers are not read."""
    for kind, values in _fields(message):
        assert isinstance(values, bytes)
        found = [value for number, value in _fields(values) if number == 1]
        if kind == 1:
            return [value for value in found if isinstance(value, bytes)]
        if kind == 2:  # packed, or one field for each
            data = b"".join(value for value in found if isinstance(value, bytes))
            return list(struct.unpack(f"<{len(data) // 4}f", data))
    return []


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol-buffer message: number and value; varints as integers, all else as bytes."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire_type == 2:
            length, position = _varint(message, position)
        else:
            length = {1: 8, 5: 4}[wire_type]
        if position + length > len(message):
            raise IndexError
        yield number, message[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A variable-length integer (seven bits a byte, low ones first), and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
        if shift > 63:
            raise IndexError
