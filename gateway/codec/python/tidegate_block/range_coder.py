"""Codec 1: an adaptive range coder, with models that learn as the block goes on."""

from __future__ import annotations

from .coder import Choice, Flag, Number, Set, i64

WORD = (1 << 32) - 1
MEMORY = 30
"""How often a model has seen a bit, at most; from then on it forgets."""
LEAST = 48
"""No bit is more certain than this, in 65,536ths."""
STEPS = [131_072 // (2 * count + 3) for count in range(32)]
"""Of each count: the share of the way to the newest bit."""

Model = list[int]
"""How likely a 1 is, in 65,536ths, and how many bits it was learnt from."""


def bank(size: int) -> list[Model]:
    return [[1 << 15, 0] for _ in range(size)]


class Bits:
    """Modelled bits stand at the front of the body, plain bits at its end, backwards; after the end there are zeros."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.front = 0
        self.back = len(body)
        self.range = (1 << 64) - 1
        self.code = self._word() << 32 | self._word()
        self.pending = 0
        self.pending_bits = 0

    def _word(self) -> int:
        word = int.from_bytes(self.body[self.front : self.front + 4].ljust(4, b"\0"), "big")
        self.front = min(self.front + 4, len(self.body))
        return word

    def bit(self, model: Model) -> int:
        """A bit of which something is expected."""
        one, count = model
        bound = (self.range >> 16) * min(max(one, LEAST), 65_535 - LEAST)
        step = STEPS[count]
        if self.code < bound:
            bit, self.range = 1, bound
            model[0] = one + ((65_535 - one) * step >> 16)
        else:
            bit = 0
            self.code -= bound
            self.range -= bound
            model[0] = one - (one * step >> 16)
        if count < MEMORY:
            model[1] = count + 1
        if self.range <= WORD:
            self.range <<= 32
            self.code = self.code << 32 | self._word()
        return bit

    def plain(self, bits: int) -> int:
        """So many bits of which nothing is expected."""
        while self.pending_bits < bits:
            self.back -= 1
            self.pending = self.pending << 8 | (self.body[self.back] if self.back >= 0 else 0)
            self.pending_bits += 8
        self.pending_bits -= bits
        number = self.pending >> self.pending_bits
        self.pending &= (1 << self.pending_bits) - 1
        return number

    def is_at_end(self) -> bool:
        return self.front + len(self.body) - max(self.back, 0) >= len(self.body)


class Models:
    """What has been learnt about the residuals of all series of one sort."""

    def __init__(self) -> None:
        self.zero = bank(256)
        self.more = bank(128)
        self.up = bank(1024)
        self.down = bank(1024)
        self.top = bank(512)
        self.sign = bank(128)
        self.start = 64


class State:
    """What has been seen of one series."""

    def __init__(self, bits: Bits, models: Models) -> None:
        self.bits = bits
        self.models = models
        self.zeros = 2048
        self.last_zeros = 0
        self.mean = models.start
        self.seen = 0
        self.last_sign = 0

    def zero(self, around: int) -> bool:
        """Whether the next residual is 0."""
        share = min(max(self.zeros >> 9, 0), 7)
        zero = self.bits.bit(self.models.zero[share << 4 | self.last_zeros << 2 | around])
        self.zeros += (zero << 12) - self.zeros >> 3
        self.last_zeros = (self.last_zeros << 1 | zero) & 3
        return zero == 1

    def residual(self, around: int) -> int:
        """The next residual: how far off a prediction was."""
        if self.zero(around):
            return 0
        length = self._length()
        size = self._size(length)
        negative = self.bits.bit(self.models.sign[self.last_sign << 4 | min(length, 15)])
        self.last_sign = 1 + negative
        self.seen += 1
        self.mean += towards_zero((length << 4) - self.mean, min(self.seen, 6))
        if self.seen == 1:
            self.models.start += towards_zero((length << 4) - self.models.start, 4)
        return i64(-size if negative else size)

    def _length(self) -> int:
        """The number of bits, 1 to 64, step by step from what is expected."""
        bit, models = self.bits.bit, self.models
        place = self.mean >> 3
        found = expected = min(max(self.mean + 8 >> 4, 1), 64)
        if bit(models.more[place & 127]):
            found += 1
            while found < 64 and bit(models.up[(place << 3 | min(found - expected - 1, 7)) & 1023]):
                found += 1
        else:
            while found > 1 and bit(models.down[(place << 3 | min(expected - found, 7)) & 1023]):
                found -= 1
        return min(found, 64)

    def _size(self, length: int) -> int:
        """The bits below the highest: the first ones modelled, the others plain."""
        found = seen = 1
        left = length - 1
        for _ in range(min(left, 3 if length <= 4 else 2)):
            bit = self.bits.bit(self.models.top[(length - 1) << 3 | seen])
            found, seen = found << 1 | bit, seen << 1 | bit
            left -= 1
        while left > 0:
            some = min(left, 32)
            found = found << some | self.bits.plain(some)
            left -= some
        return found


def towards_zero(number: int, by: int) -> int:
    return number // by if number >= 0 else -(-number // by)


def context(around: int) -> int:
    """What the neighbours of a value did, 0 to 3: the last three, of which the newest counts more."""
    around &= 7
    if around == 0:
        return 0
    return (1 if around in (1, 2, 4) else 2) + (around & 1)


class RangeReader:
    """A body of codec 1."""

    def __init__(self, body: bytes) -> None:
        self.bits = Bits(body)
        self.flags = bank(16)
        self.choices = [bank(16) for _ in Choice]
        self.letters = [bank(256) for _ in range(4)]
        self.models = [Models() for _ in Set]
        self.change_models = Models()
        single = Models()
        self.numbers = [State(self.bits, single) for _ in Number]
        self.around: list[int] = []

    def rows(self, count: int) -> None:
        self.around = [0] * count

    def flag(self, which: Flag) -> bool:
        return self.bits.bit(self.flags[which]) == 1

    def choice(self, which: Choice) -> int:
        seen = 1
        for _ in range(4):
            seen = seen << 1 | self.bits.bit(self.choices[which][seen])
        return seen & 15

    def number(self, which: Number) -> int:
        return self.numbers[which].residual(0)

    def residuals(self, which: Set, count: int) -> list[int]:
        state = State(self.bits, self.models[which])
        if which != Set.VALUES or count + 1 != len(self.around):
            return [state.residual(0) for _ in range(count)]
        residuals = []
        for row in range(1, count + 1):
            residual = state.residual(context(self.around[row]))
            self.around[row] = self.around[row] << 1 & 255 | (residual != 0)
            residuals.append(residual)
        return residuals

    def changes(self, count: int) -> list[bool]:
        state = State(self.bits, self.change_models)
        if count != len(self.around):
            return [not state.zero(0) for _ in range(count)]
        changes = []
        for row in range(count):
            change = not state.zero(context(self.around[row]))
            self.around[row] = self.around[row] << 1 & 255 | change
            changes.append(change)
        return changes

    def bytes(self, count: int) -> bytes:
        found = bytearray()
        sort = 0
        for _ in range(count):
            seen = 1
            for _ in range(8):
                seen = seen << 1 | self.bits.bit(self.letters[sort][seen])
            found.append(seen & 255)
            sort = (seen & 255) >> 6
        return bytes(found)

    def is_at_end(self) -> bool:
        return self.bits.is_at_end()
