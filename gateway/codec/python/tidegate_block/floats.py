"""Floats as integers: the decimals they came from, the scale they are on, or their place in the order of all floats."""

from __future__ import annotations

import struct
from typing import Callable

from .coder import Choice, Coder, Flag, Number, Set, i64
from .errors import Malformed
from .rows import F32
from .series import read_series

SLOTS = 1024
"""Places for corrections."""


def read_floats(coder: Coder, length: int, wide: bool) -> list[float]:
    """So many floats, at least one; 64-bit ones when `wide`."""
    single = coder.flag(Flag.SINGLE) if wide else True
    of_integer = _form(coder)
    rounded = corrected = False
    if of_integer is not None:
        rounded = not single and coder.flag(Flag.ROUNDED)
        corrected = coder.flag(Flag.CORRECTIONS)
    places = read_series(coder, Set.VALUES, length)
    if of_integer is not None:
        corrections = coder.residuals(Set.CORRECTIONS, length) if corrected else None
        places = _places(places, of_integer, single, rounded, corrections)
    floats = [_single_at(place) if single else _double_at(place) for place in places]
    return [float(number) for number in floats] if wide else floats


def _form(coder: Coder) -> Callable[[int], float] | None:
    """What float an integer stands for; None when it is the float's place in the order of all."""
    form = coder.choice(Choice.FORM)
    if form == 0:
        return None
    if form in (1, 2):
        places = coder.choice(Choice.PLACES)
        power, part = float(f"1e{places}"), float(f"1e-{places}")
        if form == 1:
            return lambda integer: float(integer) / power
        return lambda integer: float(integer) * part
    if form == 3:
        step = _double_at(coder.number(Number.PARAMETER))
        offset = _double_at(coder.number(Number.PARAMETER))
        return lambda integer: offset + float(integer) * step
    raise Malformed("the form of floats")


def _places(
    integers: list[int],
    of_integer: Callable[[int], float],
    single: bool,
    rounded: bool,
    corrections: list[int] | None,
) -> list[int]:
    """The places of the floats that the integers stand for, corrected."""
    expected = [0] * SLOTS
    places = []
    for row, integer in enumerate(integers):
        number = of_integer(integer)
        if single:
            place = _place_of_single(_nearest_single(number))
        else:
            place = _place_of(_widened(number) if rounded else number)
        if corrections is not None:
            # The last correction of each integer is expected again.
            slot = (integer * 0x9E37_79B9_7F4A_7C15 & (1 << 64) - 1) >> 54
            expected[slot] = i64(expected[slot] + corrections[row])
            place = i64(place + expected[slot])
        places.append(place)
    return places


def _nearest_single(number: float) -> bytes:
    """The bytes of the nearest 32-bit float."""
    try:
        return struct.pack("<f", number)
    except OverflowError:
        return struct.pack("<f", float("inf") if number > 0 else float("-inf"))


def _widened(number: float) -> float:
    return struct.unpack("<f", _nearest_single(number))[0]


def _place_of(number: float) -> int:
    """The place of a 64-bit float among all: 0.0 is at 0, -0.0 at -1."""
    bits = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits ^ (bits >> 63 & (1 << 63) - 1)


def _double_at(place: int) -> float:
    return struct.unpack("<d", struct.pack("<q", place ^ (place >> 63 & (1 << 63) - 1)))[0]


def _place_of_single(number: bytes) -> int:
    bits = struct.unpack("<i", number)[0]
    return bits ^ (bits >> 31 & (1 << 31) - 1)


def _single_at(place: int) -> F32:
    """The 32-bit float at a place, of which the lowest 32 bits count."""
    bits = (place + (1 << 31) & (1 << 32) - 1) - (1 << 31)
    return F32(struct.unpack("<f", struct.pack("<i", bits ^ (bits >> 31 & (1 << 31) - 1)))[0])
