"""What a body is made of. Both codecs read the same things in the same order."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol


class Flag(IntEnum):
    """A yes or no."""

    DEVICE_TIMES = 0
    OWN_PERIOD = 1
    MARKS = 2
    SAME_MARKS = 3
    FOREIGN = 4
    SINGLE = 5
    ROUNDED = 6
    CORRECTIONS = 7


class Choice(IntEnum):
    """One of 16."""

    TRANSFORM = 0
    PREDICTOR = 1
    FORM = 2
    PLACES = 3


class Number(IntEnum):
    """A number of its own."""

    COUNT = 0
    PARAMETER = 1
    TIME = 2
    BASE = 3
    LEVEL = 4


class Set(IntEnum):
    """Residuals that resemble one another."""

    TIMES = 0
    VALUES = 1
    CORRECTIONS = 2
    TABLES = 3
    CODES = 4


class Coder(Protocol):
    """A body that is being read. All numbers are signed and have 64 bits."""

    def rows(self, count: int) -> None:
        """So many rows are in the block."""

    def flag(self, which: Flag) -> bool: ...

    def choice(self, which: Choice) -> int: ...

    def number(self, which: Number) -> int: ...

    def residuals(self, which: Set, count: int) -> list[int]: ...

    def changes(self, count: int) -> list[bool]:
        """Of something that is on or off: whether it changes."""

    def bytes(self, count: int) -> bytes: ...

    def is_at_end(self) -> bool:
        """Whether everything has been read."""


def i64(number: int) -> int:
    """The same 64 bits as a signed number."""
    return (number + (1 << 63) & (1 << 64) - 1) - (1 << 63)
