"""Writes TFRecord files and the messages in them, from the format's definition and bit by bit, for the tests."""

import struct
from pathlib import Path

Values = list[bytes] | list[float]


def crc32c_by_bits(data: bytes) -> int:
    """The definition: division by the polynomial 0x11EDC6F41, lowest bit first."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def varint(value: int) -> bytes:
    groups = []
    while True:
        groups.append(value & 127)
        value >>= 7
        if not value:
            return bytes(group | 128 for group in groups[:-1]) + bytes(groups[-1:])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values: Values, packed: bool = True) -> bytes:
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, value) for value in values))
    numbers = [struct.pack("<f", value) for value in values]
    content = field(1, b"".join(numbers)) if packed else b"".join(varint(1 << 3 | 5) + number for number in numbers)
    return field(2, content)


def example(features: dict[str, Values], packed: bool = True) -> bytes:
    """`Example`, and a `SequenceExample` that has a context only."""
    entries = [field(1, name.encode()) + field(2, feature(values, packed)) for name, values in features.items()]
    return field(1, b"".join(field(1, entry) for entry in entries))


def write_tfrecord(path: Path, payloads: list[bytes], checksum=crc32c_by_bits) -> None:
    def masked(data: bytes) -> bytes:
        crc = checksum(data)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for payload in payloads:
            length = struct.pack("<Q", len(payload))
            file.write(length + masked(length) + payload + masked(payload))
