# SPDX-License-Identifier: BSD-2-Clause
"""Credits for non-posted requests behind Intel's hard blocks.

A read for which the host has no credit holds up all that comes after it in the block, even what
must be able to pass it (PCI Express Base 4.0 section 2.4.1): it has to wait before the block. No
other packet of ours is non-posted, nor one of the block's own.

Sources: user guides, P-Tile (683059) "TX Flow Control Interface", L- and H-Tile (683111)
"Interpreting the TX Credit Interface".
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CreditLimit", "NetCredits"]

LIMIT_BITS = 12
NET_BITS = 8
MOST_READS = 255
"""Under way from here until the block has counted them; more than buffers and delays can hold."""
COUNTING_CYCLES = 128
"""After a read has reached the block, until that has taken its credit off. The user guide does not
say when: long enough for the read to wait for four long writes."""


class CreditLimit(wiring.Component):
    """Of a block that tells how many credits the host has given so far.

    Attributes
    ----------
    limit : In(12), limit_valid : In(1)
        Credits given since the link came up, modulo 4,096. A host that never gives any does not
        limit.
    taken : In(1)
        A read leaves. Only with ``may_leave``.
    may_leave : Out(1)
        There is a credit for another.
    """

    def __init__(self):
        super().__init__(
            {
                "limit": In(LIMIT_BITS),
                "limit_valid": In(1),
                "taken": In(1),
                "may_leave": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        given = Signal(LIMIT_BITS)
        used = Signal(LIMIT_BITS)
        limited = Signal()
        m.d.comb += self.may_leave.eq(~limited | (given != used))
        m.d.sync += used.eq(used + self.taken)
        with m.If(self.limit_valid):
            m.d.sync += [given.eq(self.limit), limited.eq(limited | self.limit.any())]
        return m


class NetCredits(wiring.Component):
    """Of a block that tells how many credits are left, some cycles late.

    Parameters
    ----------
    counting_cycles : int
        1 or more, after a read has reached the block, within which that takes its credit off.

    Attributes
    ----------
    net : In(8)
        Credits left.
    taken : In(1)
        A read leaves for the block. Only with ``may_leave``.
    departed : In(1)
        The oldest of them has reached it.
    may_leave : Out(1)
        There is a credit for another.

    Raises
    ------
    ValueError
        ``counting_cycles`` is less than 1.
    """

    def __init__(self, *, counting_cycles: int = COUNTING_CYCLES):
        if counting_cycles < 1:
            raise ValueError(f"counting_cycles is {counting_cycles}: must be 1 or more")
        self._counting_cycles = counting_cycles
        super().__init__(
            {
                "net": In(NET_BITS),
                "taken": In(1),
                "departed": In(1),
                "may_leave": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Departed, but the block may not have counted it yet.
        uncounted = Signal(self._counting_cycles)
        under_way = Signal(range(MOST_READS + 1))
        m.d.comb += self.may_leave.eq(self.net > under_way)
        m.d.sync += [
            uncounted.eq(Cat(self.departed, uncounted)),
            under_way.eq(under_way + self.taken - uncounted[-1]),
        ]
        return m
