"""A series of integers: a description, and residuals, which say how far off each prediction was."""

from __future__ import annotations

from typing import Callable

from .coder import Choice, Coder, Number, Set, i64
from .errors import Malformed


def read_series(coder: Coder, which: Set, length: int) -> list[int]:
    """So many integers, at least one."""
    transform = coder.choice(Choice.TRANSFORM)
    undo = _transform(coder, transform, length)
    base = coder.number(Number.BASE)
    if transform == 0:
        return [base] * length
    predict = _predictor(coder)
    # Steps and lattices count from the first number.
    numbers = [0 if transform in (1, 2, 5) else base]
    next_number = predict(numbers)
    for residual in coder.residuals(which, length - 1):
        numbers.append(i64(next_number() + residual))
    return [undo(base, number) for number in numbers]


Undo = Callable[[int, int], int]
"""From the base and a number to the integer it stands for."""


def _transform(coder: Coder, code: int, length: int) -> Undo:
    """How the numbers were made smaller."""
    if code == 0:
        return lambda base, number: base
    if code == 1:
        return lambda base, number: i64(base + number)
    if code == 2:
        step = coder.number(Number.PARAMETER)
        return lambda base, number: i64(base + number * step)
    if code == 3:
        digits = coder.choice(Choice.PLACES)
        if digits == 0:
            raise Malformed("the number of significant digits")
        return lambda base, number: _of_digits(number, digits)
    if code == 4:
        table = _table(coder, length)
        return lambda base, number: _entry(table, number)
    if code == 5:
        bits, step, phase = (coder.number(Number.PARAMETER) for _ in range(3))
        if not 0 <= bits < 48:
            raise Malformed("a lattice")
        return lambda base, number: i64(base + (i64(number * step + phase) >> bits))
    raise Malformed("the transform of a series")


def _table(coder: Coder, length: int) -> list[int]:
    entries = coder.number(Number.COUNT)
    if not 1 <= entries <= length:
        raise Malformed("the length of a table")
    table = [coder.number(Number.BASE)]
    for step in coder.residuals(Set.TABLES, entries - 1):
        table.append(i64(table[-1] + step))
    return table


def _entry(table: list[int], place: int) -> int:
    if not 0 <= place < len(table):
        raise Malformed("a place in a table")
    return table[place]


def _of_digits(place: int, digits: int) -> int:
    """The number at a place among all numbers of so many significant digits."""
    size = abs(place)
    first = 10 ** (digits - 1)
    if size >= 10 * first:
        zeros = min((size - first) // (9 * first), 18)
        size = (size - zeros * 9 * first) * 10**zeros
    return i64(-size if place < 0 else size)


Predict = Callable[[list[int]], Callable[[], int]]
"""From the numbers so far, which grow, to what the next one should be."""


def _predictor(coder: Coder) -> Predict:
    code = coder.choice(Choice.PREDICTOR)
    if code == 0:
        level = coder.number(Number.LEVEL)
        return lambda numbers: lambda: level
    if code == 1:
        return lambda numbers: lambda: numbers[-1]
    if code == 2:
        return lambda numbers: lambda: i64(2 * numbers[-1] - numbers[max(len(numbers) - 2, 0)])
    if code == 3:
        return _pair
    if code == 4:
        return lambda numbers: _mean(numbers, 4, 1)
    if code == 5:
        return lambda numbers: _mean(numbers, 6, 3)
    if code in (6, 7):
        lag = coder.number(Number.PARAMETER)
        if not 1 <= lag < 1 << 32:
            raise Malformed("a cycle")
        return lambda numbers: _lag(numbers, lag, cycle=code == 7)
    raise Malformed("the predictor of a series")


def _pair(numbers: list[int]) -> Callable[[], int]:
    """Half-way between the last two."""

    def predicted() -> int:
        before = numbers[max(len(numbers) - 2, 0)]
        return i64(before + (i64(numbers[-1] - before) >> 1))

    return predicted


def _mean(numbers: list[int], fine: int, rate: int) -> Callable[[], int]:
    """A mean that moves, kept finer than the numbers."""
    mean = None

    def predicted() -> int:
        nonlocal mean
        last = i64(numbers[-1] << fine)
        mean = last if mean is None else i64(mean + (i64(last - mean) >> rate))
        return mean >> fine

    return predicted


def _lag(numbers: list[int], lag: int, cycle: bool) -> Callable[[], int]:
    """The number so many before, or in a cycle the last one and what came to the one so many before."""

    def predicted() -> int:
        place = len(numbers)
        if place < lag or (cycle and place < lag + 1):
            return numbers[-1]
        if cycle:
            return i64(numbers[-1] + numbers[place - lag] - numbers[place - lag - 1])
        return numbers[place - lag]

    return predicted
