# SPDX-License-Identifier: BSD-2-Clause
"""Credits for non-posted requests behind Intel's hard blocks.

A read without a credit blocks everything behind it in the hard block, even TLPs that must be able
to pass it (PCI Express Base 4.0 section 2.4.1), so it is held back before the block. The function
sends no other non-posted requests, and the block none of its own.

Sources: user guides, P-Tile (683059) "TX Flow Control Interface", L- and H-Tile (683111)
"Interpreting the TX Credit Interface".
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CreditLimit", "NetCredits"]

LIMIT_BITS = 12
NET_BITS = 8
MAX_READS = 255
"""Maximum number of reads that have left and that the block has not counted; more than buffers and
delays can hold."""
COUNTING_CYCLES = 128
"""Cycles from the arrival of a read at the block until the block has subtracted its credit. The
user guide does not specify them; this many let the read wait for four long writes."""


class CreditLimit(wiring.Component):
    """Gate for a block that outputs the credits granted so far.

    Attributes
    ----------
    limit : In(12)
        Credits granted since link up, modulo 4,096. A host that never grants any has no limit.
    limit_valid : In(1)
        ``limit`` is valid.
    consumed : In(1)
        One-cycle pulse: a read departs. Only with ``may_send``.
    may_send : Out(1)
        There is a credit for one more read.
    """

    def __init__(self):
        super().__init__(
            {
                "limit": In(LIMIT_BITS),
                "limit_valid": In(1),
                "consumed": In(1),
                "may_send": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        granted = Signal(LIMIT_BITS)
        used = Signal(LIMIT_BITS)
        limited = Signal()
        m.d.comb += self.may_send.eq(~limited | (granted != used))
        m.d.sync += used.eq(used + self.consumed)
        with m.If(self.limit_valid):
            m.d.sync += [granted.eq(self.limit), limited.eq(limited | self.limit.any())]
        return m


class NetCredits(wiring.Component):
    """Gate for a block that outputs the remaining credits, some cycles late.

    Parameters
    ----------
    counting_cycles : int
        Cycles, 1 or more, from the arrival of a read at the block until its credit is subtracted.

    Attributes
    ----------
    net : In(8)
        Remaining credits.
    consumed : In(1)
        One-cycle pulse: a read departs for the block. Only with ``may_send``.
    departed : In(1)
        One-cycle pulse: the oldest of these reads arrives at the block.
    may_send : Out(1)
        There is a credit for one more read.

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
                "consumed": In(1),
                "departed": In(1),
                "may_send": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Reads that arrived at the block, which may not have counted them yet.
        uncounted = Signal(self._counting_cycles)
        in_flight = Signal(range(MAX_READS + 1))
        m.d.comb += self.may_send.eq(self.net > in_flight)
        m.d.sync += [
            uncounted.eq(Cat(self.departed, uncounted)),
            in_flight.eq(in_flight + self.consumed - uncounted[-1]),
        ]
        return m
