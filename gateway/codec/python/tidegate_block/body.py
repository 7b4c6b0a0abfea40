"""The body of a block: the times of its rows, and then column after column."""

from __future__ import annotations

import struct
from typing import Callable, Iterator, Sequence, TypeVar

from .coder import Coder, Flag, Number, Set, i64
from .errors import Malformed, UnknownSchema
from .floats import read_floats
from .frame import Block, Input
from .planes import PlaneReader
from .range_coder import RangeReader
from .rows import F32, REASONS, Quality, Row, Slot, Value
from .schema import KINDS, Column, Schema
from .series import read_series

T = TypeVar("T")
MOST = 128 << 20
"""Bytes that texts and arrays of a block may take; whoever promises more means harm."""
ARRAY, DEPTH = 8, 8
"""In the place of a kind; and how deep arrays may be nested."""
UNCERTAIN, BAD, UNCHANGED, STATE, REASON, FOREIGN = 0x10, 0x20, 0x30, 0x30, 0x0F, 0x40
"""The bits of a mark."""


def decode(block: Block, schema: Schema) -> list[Row]:
    """The rows of a block, read by its schema."""
    if block.schema != schema.id:
        raise UnknownSchema(f"the block has schema {block.schema:08x}, at hand is {schema.id:08x}")
    parts = _parts(block, len(schema.columns))
    width, coder = next(parts)
    times = [block.first_time] if block.rows == 1 else _times(coder, block.first_time, block.rows)
    device_times = _device_times(coder, times) if coder.flag(Flag.DEVICE_TIMES) else [None] * block.rows
    columns = _Columns(coder, block.rows)
    slots = []
    for at, column in enumerate(schema.columns):
        if at > 0 and at % width == 0:
            _at_end(columns.coder)
            columns.begin_part(next(parts)[1])
        slots.append(columns.read(column))
    _at_end(columns.coder)
    rows = zip(times, device_times, zip(*slots) if slots else [()] * block.rows)
    return [Row(block.first_seq + at, *row[:2], list(row[2])) for at, row in enumerate(rows)]


def _parts(block: Block, columns: int) -> Iterator[tuple[int, Coder]]:
    """How many columns a part has, and a reader of each part; only codec 2 has more than one."""
    width, bodies = max(columns, 1), [block.body]
    if block.codec == 2:
        head = Input(block.body)
        width, count = head.varint(), head.varint()
        if width == 0 or count != max(-(-columns // width), 1):
            raise Malformed("the parts of the body")
        lengths = [head.varint() for _ in range(count - 1)]
        bodies = [head.take(length) for length in lengths] + [head.rest()]
    for body in bodies:
        coder: Coder = PlaneReader(body) if block.codec == 0 else RangeReader(body)
        coder.rows(block.rows)
        yield width, coder


def _at_end(coder: Coder) -> None:
    if not coder.is_at_end():
        raise Malformed("the end of the body")


def _times(coder: Coder, first: int, count: int) -> list[int]:
    """Times from a period on, and how far each is off."""
    period = coder.number(Number.TIME)
    phases = read_series(coder, Set.TIMES, count)
    return [i64(first + at * period + phase) for at, phase in enumerate(phases)]


def _device_times(coder: Coder, times: list[int]) -> list[int | None]:
    has = _toggled(coder.changes(len(times)), start=True)
    of = [time for time, there in zip(times, has) if there]
    found: list[int] = []
    if of and coder.flag(Flag.OWN_PERIOD):
        first = i64(of[0] + coder.number(Number.TIME))
        found = [first] if len(of) == 1 else _times(coder, first, len(of))
    elif of:
        found = [i64(time + delay) for time, delay in zip(of, read_series(coder, Set.TIMES, len(of)))]
    left = iter(found)
    return [next(left) if there else None for there in has]


def _toggled(changes: Sequence[bool], start: bool) -> list[bool]:
    """What is on or off, from its changes."""
    states = []
    for change in changes:
        start ^= change
        states.append(start)
    return states


class _Columns:
    """The columns of one block, in their order."""

    def __init__(self, coder: Coder, rows: int) -> None:
        self.coder = coder
        self.rows = rows
        self.marks: list[int] = []
        self.left = MOST

    def begin_part(self, coder: Coder) -> None:
        """The next columns know nothing of those before."""
        self.coder = coder
        self.marks = []

    def read(self, column: Column) -> list[Slot]:
        """What all rows say about one column."""
        marks = self._marks() if self.coder.flag(Flag.MARKS) else [0] * self.rows
        foreign = iter(self._foreign(sum(mark & FOREIGN > 0 for mark in marks)))
        own = iter(self._own(column, sum(_has_own_value(mark) for mark in marks)))
        return [_slot(mark, own, foreign) for mark in marks]

    def _marks(self) -> list[int]:
        """One mark for each row; often those of the column before."""
        coder = self.coder
        if not coder.flag(Flag.SAME_MARKS):
            count = coder.number(Number.COUNT)
            if not 1 <= count <= 128:
                raise Malformed("marks")
            known = [_mark(coder.number(Number.PARAMETER)) for _ in range(count)]
            place, self.marks = 0, [known[0]]
            for step in coder.residuals(Set.CODES, self.rows - 1):
                place = i64(place + step)
                if not 0 <= place < count:
                    raise Malformed("marks")
                self.marks.append(known[place])
        if len(self.marks) != self.rows:
            raise Malformed("marks")
        return self.marks

    def _foreign(self, count: int) -> list[Value]:
        """Values of another type than their column's."""
        if count == 0:
            return []
        strings = self._at_places(self._bytes(self._count(count)), count)
        return [_value(Input(string), DEPTH) for string in strings]

    def _own(self, column: Column, count: int) -> list[Value]:
        """The values of a column's own type."""
        if column.items is not None:
            return self._objects(count, lambda known: self._arrays(column.kind, known))
        if column.kind in ("text", "bytes"):
            return self._objects(count, lambda known: [_content(column.kind, raw) for raw in self._bytes(known)])
        return self._plain(column.kind, count)

    def _plain(self, kind: str, count: int) -> list[Value]:
        """Bools and numbers."""
        if kind == "bool":
            return list(_toggled(self.coder.changes(count), start=False))
        if count == 0:
            return []
        if kind in ("f32", "f64"):
            return list(read_floats(self.coder, count, wide=kind == "f64"))
        numbers = read_series(self.coder, Set.VALUES, count)
        return [number & (1 << 64) - 1 for number in numbers] if kind == "uint" else list(numbers)

    def _objects(self, count: int, read: Callable[[int], list[Value]]) -> list[Value]:
        """Texts, bytes or arrays: those that occur, and which is where."""
        if count == 0:
            return []
        known = read(self._count(count))
        return self._at_places(known, count)

    def _at_places(self, known: list[T], count: int) -> list[T]:
        places = read_series(self.coder, Set.CODES, count)
        if not all(0 <= place < len(known) for place in places):
            raise Malformed("a place in a table")
        return [known[place] for place in places]

    def _count(self, most: int) -> int:
        count = self.coder.number(Number.COUNT)
        if not 1 <= count <= most:
            raise Malformed("the length of a table")
        return count

    def _lengths(self, count: int, size: int) -> list[int]:
        lengths = read_series(self.coder, Set.TABLES, count)
        self.left -= sum(lengths) * size
        if min(lengths) < 0 or self.left < 0:
            raise Malformed("lengths")
        return lengths

    def _bytes(self, count: int) -> list[bytes]:
        lengths = self._lengths(count, 1)
        content = Input(self.coder.bytes(sum(lengths)))
        return [content.take(length) for length in lengths]

    def _arrays(self, kind: str, count: int) -> list[Value]:
        lengths = self._lengths(count, 24)
        total = sum(lengths)
        if kind in ("text", "bytes"):
            items = self._objects(total, lambda known: [_content(kind, raw) for raw in self._bytes(known)])
        else:
            items = self._plain(kind, total)
        left = iter(items)
        return [[next(left) for _ in range(length)] for length in lengths]


def _mark(code: int) -> int:
    reason, state = code & REASON, code & STATE
    known = 1 <= reason <= len(REASONS) if state in (UNCERTAIN, BAD) else reason == 0
    if not 0 <= code < 128 or not known or (state >= BAD and code & FOREIGN):
        raise Malformed("the mark of a slot")
    return code


def _has_own_value(mark: int) -> bool:
    return mark & STATE <= UNCERTAIN and not mark & FOREIGN


def _slot(mark: int, own: Iterator[Value], foreign: Iterator[Value]) -> Slot:
    state = mark & STATE
    if state == UNCHANGED:
        return Slot(Quality.UNCHANGED)
    reason = REASONS[(mark & REASON) - 1]
    if state == BAD:
        return Slot(Quality.BAD, None, reason)
    value = next(foreign if mark & FOREIGN else own)
    return Slot(Quality.UNCERTAIN, value, reason) if state == UNCERTAIN else Slot(Quality.GOOD, value)


def _content(kind: str, raw: bytes) -> Value:
    if kind == "bytes":
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text") from error


def _value(content: Input, depth: int) -> Value:
    """A value with its kind before it."""
    code = content.byte()
    if code == ARRAY:
        items = content.varint()
        if depth == 0 or items > len(content.rest()) // 2:
            raise Malformed("an array")
        return [_value(content, depth - 1) for _ in range(items)]
    if not 1 <= code <= len(KINDS):
        raise Malformed("the kind of a value")
    kind = KINDS[code - 1]
    if kind == "bool":
        on = content.byte()
        if on > 1:
            raise Malformed("a bool")
        return on == 1
    if kind in ("text", "bytes"):
        return _content(kind, content.take(content.varint()))
    form, size = {"int": ("<q", 8), "uint": ("<Q", 8), "f32": ("<f", 4), "f64": ("<d", 8)}[kind]
    number = struct.unpack(form, content.take(size))[0]
    return F32(number) if kind == "f32" else number
