"""What is around the rows: a mark, the version, a length, whose rows they are, and a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Union

from .errors import BlockError, Checksum, Cut, Malformed, NewerVersion, NotABlock, UnknownCodec

MARK = 0xB7
VERSION = 1
SCHEMA, GAP = 14, 15
"""In the place of a codec."""
MAX_ROWS = 65_536
SEARCH = 16
"""After damage, at most so many bytes are looked at for each byte there is."""


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _table()


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF


def unzigzag(number: int) -> int:
    """0, 1, 2, 3 … as 0, -1, 1, -2 …"""
    return number >> 1 ^ -(number & 1)


class Input:
    """Bytes that are read from the front."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def byte(self) -> int:
        if self.at >= len(self.data):
            raise Malformed("the bytes end too early")
        self.at += 1
        return self.data[self.at - 1]

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Malformed("the bytes end too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                if number >> 64:
                    break
                return number
        raise Malformed("a number of more than 64 bits")

    def signed(self) -> int:
        return unzigzag(self.varint())

    def rest(self) -> bytes:
        return self.data[self.at :]


@dataclass(frozen=True)
class Block:
    """Rows of one stream, still packed."""

    codec: int
    stream: int
    schema: int
    boot: int
    first_seq: int
    rows: int
    first_time: int
    body: bytes

    @property
    def last_seq(self) -> int:
        return self.first_seq + self.rows - 1


@dataclass(frozen=True)
class Gap:
    """Rows of one stream that will never come."""

    stream: int
    schema: int
    boot: int
    first_seq: int
    last_seq: int
    reason: int

    @property
    def why(self) -> str:
        names = {1: "disk_failing", 2: "too_old", 3: "store_full", 4: "damaged", 5: "thinned"}
        # What a target leaves out, of rows that are in the store, and what an export has not found.
        names |= {128: "too_large", 129: "refused", 130: "dropped"}
        return names.get(self.reason, f"reason {self.reason}")


@dataclass(frozen=True)
class Document:
    """A schema in a file, as its bytes; messages have none."""

    document: bytes


Frame = Union[Block, Gap, Document]


def split(message: bytes) -> Iterator[Frame]:
    """The frames of a message, one after the other.

    Raises a BlockError at the first that cannot be read; `parts` goes on after it.
    """
    for _, part in parts(message):
        if isinstance(part, BlockError):
            raise part
        yield part


def parts(file: bytes) -> Iterator[tuple[int, Frame | BlockError]]:
    """The frames of a message or a file with the offset of each, and errors in the place of those that cannot be read.

    After bytes that are damaged, the next whole frame is searched for.
    """
    at, search = 0, len(file) * SEARCH
    while at < len(file):
        try:
            kind, contents, end = _whole(file, at)
        except BlockError as error:
            yield at, error
            at, search = _next_whole(file, at + 1, search)
            continue
        try:
            yield at, _frame(kind, contents)
        except BlockError as error:
            yield at, error
        at = end


def _extent(file: bytes, at: int) -> tuple[int, int]:
    """Where the contents begin and end of the frame that begins at `at`."""
    if file[at] != MARK:
        raise NotABlock("the bytes do not begin like a block")
    head = Input(file[at + 2 : at + 12])
    try:
        length = head.varint()
    except Malformed as error:
        if len(file) - at >= 12:
            raise
        raise Cut("the block is cut off") from error
    start = at + 2 + head.at
    return start, start + length


def _whole(file: bytes, at: int) -> tuple[int, bytes, int]:
    """The kind and the contents of a frame with a right checksum, and where it ends."""
    start, end = _extent(file, at)
    if end + 4 > len(file):
        raise Cut(f"the block is cut off: {len(file) - at} of {end + 4 - at} bytes are there")
    stated = int.from_bytes(file[end : end + 4], "little")
    computed = crc32c(file[at:end])
    if stated != computed:
        raise Checksum(f"the block is damaged: its checksum is {computed:08x}, stated is {stated:08x}")
    return file[at + 1], file[start:end], end + 4


def _next_whole(file: bytes, at: int, search: int) -> tuple[int, int]:
    """Where the next whole frame begins, or the end, and how far may still be searched after it."""
    while (at := file.find(bytes([MARK]), at)) >= 0:
        try:
            _, end = _extent(file, at)
            if file[at + 1] >> 4 == VERSION and end + 4 <= len(file):
                search -= end + 4 - at
                if search < 0:
                    break
                _whole(file, at)
                return at, search
        except (BlockError, IndexError):
            pass
        at += 1
    return len(file), search


def _frame(kind: int, contents: bytes) -> Frame:
    version, codec = kind >> 4, kind & 15
    if version != VERSION:
        raise NewerVersion(f"the block has version {version}; known is {VERSION}")
    if codec == SCHEMA:
        return Document(contents)
    if codec not in (0, 1, 2, GAP):
        raise UnknownCodec(f"the block is packed with codec {codec}, which is not known")
    head = Input(contents)
    stream, schema = head.varint(), int.from_bytes(head.take(4), "little")
    boot, first_seq, more = head.varint(), head.varint(), head.varint()
    if codec == GAP:
        gap = Gap(stream, schema, boot, first_seq, first_seq + more, head.byte())
        if head.rest() or gap.last_seq >> 64 or stream >> 32:
            raise Malformed("a gap record")
        return gap
    if not 1 <= more <= MAX_ROWS or (first_seq + more - 1) >> 64 or stream >> 32:
        raise Malformed("the number of rows")
    return Block(codec, stream, schema, boot, first_seq, more, head.signed(), head.rest())
