# SPDX-License-Identifier: BSD-2-Clause
"""Arithmetic on SPSC indices: successor and predecessor, and the reduction of untrusted indices.

The peer is hostile, so an index that it writes may have any value. It is reduced modulo the
capacity (the patch series, ``spsc_load_index``).
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["IndexModulo", "index_width", "predecessor", "second_predecessor", "successor"]


def index_width(capacity: int) -> int:
    """Bits of an index below ``capacity``."""
    return (capacity - 1).bit_length()


def successor(index: Value, capacity: int) -> Value:
    """The index after ``index``, wrapped to 0 at ``capacity``; ``index_width(capacity)`` bits."""
    width = index_width(capacity)
    # Bit by bit: a carry chain is slower for a count this short.
    after = Cat(index[bit] ^ index[:bit].all() for bit in range(width))
    return after if capacity == 1 << width else Mux(index == capacity - 1, 0, after)


def predecessor(index: Value, capacity: int) -> Value:
    """The index before ``index``, ``capacity - 1`` before 0; ``index_width(capacity)`` bits."""
    width = index_width(capacity)
    before = Cat(index[bit] ^ ~index[:bit].any() for bit in range(width))
    return before if capacity == 1 << width else Mux(index == 0, capacity - 1, before)


def second_predecessor(index: Value, capacity: int) -> Value:
    """The predecessor of the :func:`predecessor` of ``index``."""
    if capacity % 2 or capacity < 4:
        return predecessor(predecessor(index, capacity), capacity)
    # An even capacity: bit 0 is the same.
    return Cat(index[0], predecessor(index[1:], capacity // 2))


def _residues(value: Value, capacity: int, bound: int) -> tuple[Value, int]:
    """A value congruent to ``value`` modulo ``capacity``, and its largest possible value.

    Each bit above the index has weight ``2**bit mod capacity`` instead of ``2**bit``. Bits of equal
    weight are counted first.
    """
    width = index_width(capacity)
    columns: dict[int, list[Value]] = {}
    for bit in range(width - 1, bound.bit_length()):
        columns.setdefault((1 << bit) % capacity, []).append(value[bit])
    low = value[: width - 1]
    largest = len(low) and (1 << len(low)) - 1
    # Counts that do not overlap share a summand; summands are added in pairs.
    summands: list[list[tuple[int, Value]]] = [[(0, low)]]
    for weight, bits in sorted(columns.items()):
        if not weight:
            continue
        largest += len(bits) * weight
        count = Cat(sum(bits[1:], start=bits[0]), Const(0, len(bits)))[: len(bits).bit_length()]
        for place in range(weight.bit_length()):
            if weight >> place & 1:
                _place(summands, place, count)
    sums = [_joined(summand) for summand in summands]
    while len(sums) > 1:
        pairs = zip(sums[::2], sums[1::2], strict=False)
        sums = [*(left + right for left, right in pairs), *sums[len(sums) & ~1 :]]
    return sums[0], min(largest, bound) if largest >= bound else largest


def _place(summands: list[list[tuple[int, Value]]], place: int, count: Value) -> None:
    """Put ``count``, at bit ``place``, into the first summand that has room above its bits."""
    for summand in summands:
        last, value = summand[-1]
        if last + len(value) <= place:
            summand.append((place, count))
            return
    summands.append([(place, count)])


def _joined(summand: list[tuple[int, Value]]) -> Value:
    parts: list[Value] = []
    at = 0
    for place, value in summand:
        parts += [Const(0, place - at), value]
        at = place + len(value)
    return Cat(*parts)


def _digits(capacity: int) -> tuple[int, int] | None:
    """``(shift, width)`` if ``capacity`` is ``2**shift * (2**width - 1)`` with digits of two bits
    or more, as 62 is; else None."""
    shift = (capacity & -capacity).bit_length() - 1
    width = (capacity >> shift).bit_length()
    return (shift, width) if width > 1 and capacity >> shift == (1 << width) - 1 else None


def _digit_sum(value: Value, width: int) -> Value:
    """A sum of ``width + 1`` bits congruent to ``value`` modulo ``2**width - 1``.

    Modulo ``2**width - 1`` every digit has weight 1, and a carry out of the top re-enters at the
    bottom: carry-save adders reduce three digits to two, and one adder is left.
    """
    digits = [value[at : at + width] for at in range(0, len(value), width)]
    carry_in = digits.pop() if len(digits[-1]) == 1 else Const(0, 1)
    operands = [Cat(digit, Const(0, width))[:width] for digit in digits]
    while len(operands) > 2:
        first, second, third, *operands = operands
        carries = (first & second) | (first & third) | (second & third)
        operands += [first ^ second ^ third, Cat(carries[-1], carries[:-1])]
    return sum(operands, start=carry_in)[: width + 1]


def _one_digit(total: Value, width: int) -> Value:
    """A sum of :func:`_digit_sum` modulo ``2**width - 1``, in gates instead of a carry chain."""
    digit, top = total[:width], total[width]
    incremented = [digit[bit] ^ (top & digit[:bit].all()) for bit in range(width)]
    # All ones are congruent to 0, and so is the value below with a carry.
    is_zero = digit[1:].all() & (digit[0] ^ top)
    return Mux(is_zero, 0, Cat(incremented[0] | (top & digit.all()), *incremented[1:]))


class IndexModulo(wiring.Component):
    """``remainder = value mod capacity``, one cycle later, without a divider.

    Parameters
    ----------
    capacity : int
        Number of slots, 2 to 65,536.
    width : int
        Bits of the input, default 32.

    Attributes
    ----------
    value : In(width)
        Index word, any value.
    remainder : Out(index_width(capacity))
        ``value`` of the previous cycle, modulo the capacity.
    out_of_range : Out(1)
        ``value`` of the previous cycle was the capacity or more.
    """

    def __init__(self, capacity: int, *, width: int = 32):
        if not 2 <= capacity <= 65536:
            raise ValueError(f"capacity is {capacity}: must be 2 to 65536")
        self._capacity = capacity
        self._width = width
        super().__init__(
            {
                "value": In(width),
                "remainder": Out(index_width(capacity)),
                "out_of_range": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        capacity = self._capacity
        digits = _digits(capacity)
        if digits is not None and self._width >= digits[0] + 2 * digits[1]:
            value = self._by_digits(m, *digits)
        else:
            value = self._by_weights(m)
        m.d.comb += self.remainder.eq(value)
        m.d.sync += self.out_of_range.eq(self.value >= capacity)
        return m

    def _by_digits(self, m, shift, width):
        """The remainder modulo ``2**shift * (2**width - 1)``."""
        low = Signal(max(shift, 1), name="low")
        total = Signal(width + 1, name="digit_sum")
        m.d.sync += [
            low.eq(self.value[:shift]),
            total.eq(_digit_sum(self.value[shift:], width)),
        ]
        return Cat(low[:shift], _one_digit(total, width))

    def _by_weights(self, m):
        """The remainder modulo any capacity, by folding the high bits."""
        capacity = self._capacity
        value, bound = self.value, (1 << self._width) - 1
        registered = False
        while bound >= 2 * capacity:
            folded, folded_bound = _residues(value, capacity, bound)
            if folded_bound >= bound:
                break
            step = Signal(range(folded_bound + 1), name=f"folded_{folded_bound}")
            # Register the first fold, which is the longest.
            m.d["comb" if registered else "sync"] += step.eq(folded)
            value, bound, registered = step, folded_bound, True
        if not registered:
            step = Signal.like(value, name="same")
            m.d.sync += step.eq(value)
            value = step
        while bound >= capacity:
            step = Signal(range(bound + 1), name=f"reduced_{bound}")
            m.d.comb += step.eq(Mux(value >= capacity, value - capacity, value))
            value, bound = step, max(capacity - 1, bound - capacity)
        return value
