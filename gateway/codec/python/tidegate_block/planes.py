"""Codec 0: descriptions as bytes, residuals as byte planes after them, and zstd over both."""

from __future__ import annotations

from .coder import Choice, Flag, Number, Set
from .errors import BlockError, Malformed
from .frame import Input, unzigzag

MOST = 128 << 20
"""Bytes that a body takes unpacked."""


def _unpack(body: bytes) -> bytes:
    head = Input(body)
    length = head.varint()
    if length == 0:
        return head.rest()
    if length > MOST:
        raise Malformed("the length of the body")
    try:
        import zstandard
    except ImportError as error:
        raise BlockError("blocks of codec 0 need the package zstandard: pip install tidegate-block[zstd]") from error
    packed = head.rest()
    try:
        # What the frame promises itself would be believed by the library.
        if zstandard.frame_content_size(packed) not in (-1, length):
            raise Malformed("the length of the body")
        whole = zstandard.ZstdDecompressor().decompress(packed, max_output_size=length)
    except zstandard.ZstdError as error:
        raise Malformed(f"zstd: {error}") from error
    if len(whole) != length:
        raise Malformed("the length of the body")
    return whole


class PlaneReader:
    """A body of codec 0."""

    def __init__(self, body: bytes) -> None:
        whole = Input(_unpack(body))
        self.descriptions = Input(whole.take(whole.varint()))
        self.planes = whole

    def rows(self, count: int) -> None:
        pass

    def flag(self, which: Flag) -> bool:
        return _flag(self.descriptions.byte())

    def choice(self, which: Choice) -> int:
        value = self.descriptions.byte()
        if value > 15:
            raise Malformed("a choice")
        return value

    def number(self, which: Number) -> int:
        return self.descriptions.signed()

    def residuals(self, which: Set, count: int) -> list[int]:
        planes = self.descriptions.byte()
        if planes > 8:
            raise Malformed("the number of planes")
        numbers = [0] * count
        for plane in range(planes):
            shift = 8 * plane
            numbers = [number | byte << shift for number, byte in zip(numbers, self.planes.take(count))]
        return [unzigzag(number) for number in numbers]

    def changes(self, count: int) -> list[bool]:
        return [_flag(byte) for byte in self.planes.take(count)]

    def bytes(self, count: int) -> bytes:
        return self.planes.take(count)

    def is_at_end(self) -> bool:
        return not self.descriptions.rest() and not self.planes.rest()


def _flag(byte: int) -> bool:
    if byte > 1:
        raise Malformed("a flag")
    return byte == 1
