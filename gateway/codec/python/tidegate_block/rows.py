"""What a block gives: rows, and what each says about each tag."""

from __future__ import annotations

import struct
from enum import Enum
from typing import NamedTuple, Union


class F32(float):
    """A 32-bit float. It prints with the fewest digits that give the same 32 bits again."""

    def __repr__(self) -> str:
        if self == self and self not in (float("inf"), float("-inf")):
            for digits in range(1, 9):
                shorter = float(f"{float(self):.{digits}g}")
                if _single(shorter) == self:
                    return repr(shorter)
            return repr(float(f"{float(self):.9g}"))
        return float.__repr__(self)


def _single(number: float) -> float:
    """The nearest 32-bit float."""
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


Value = Union[bool, int, float, str, bytes, "list[Value]"]


class Quality(Enum):
    """How far a value can be trusted."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"
    UNCHANGED = "unchanged"


class Slot(NamedTuple):
    """What one row says about one tag. There is a value when the quality is good or uncertain."""

    quality: Quality
    value: Value | None = None
    reason: str | None = None


class Row(NamedTuple):
    """All samples of one group taken together: one slot for each column of the schema. Times are Unix milliseconds."""

    seq: int
    time: int
    device_time: int | None
    slots: list[Slot]


REASONS = (
    "timeout",
    "disconnected",
    "device_fault",
    "out_of_range",
    "bad_address",
    "stale",
    "not_yet_read",
    "invalid_value",
    "no_result",
)
"""Why a sample is not good, by code, which begins at 1."""
