# SPDX-License-Identifier: BSD-2-Clause
"""Sequence numbers that a hard block gives back when a request has left."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DroppedWrites", "SequenceNumbers"]


class SequenceNumbers(wiring.Component):
    """Numbers writes, and tells in order when each has left.

    A write that the block drops gives no number back: it counts as gone when a later one has left,
    or with ``flush``.

    Parameters
    ----------
    bits : int
        Of a number; one less than they count may be under way.
    ports : int
        Numbers that may come back in a cycle.

    Attributes
    ----------
    number : Out(bits)
        Of the next write.
    room : Out(1)
        It may be handed over; once high, it stays so until it is.
    taken : In(1)
        The next write is handed over in this cycle. Only with ``room``.
    returned : In(ports), returned_number : In(bits) array of ports
        Numbers that come back, the earlier one first. One that is not under way is ignored.
    flush : In(1)
        All that are under way count as gone.
    gone : Out(1)
        One-cycle pulse for each write that has left or was dropped.
    empty : Out(1)
        No write is under way.

    Raises
    ------
    ValueError
        A parameter is less than 1.
    """

    def __init__(self, bits: int, *, ports: int = 1):
        if bits < 1 or ports < 1:
            raise ValueError(f"bits is {bits}, ports is {ports}: must be 1 or more")
        self._bits = bits
        super().__init__(
            {
                "number": Out(bits),
                "room": Out(1, init=1),
                "taken": In(1),
                "returned": In(ports),
                "returned_number": In(bits).array(ports),
                "flush": In(1),
                "gone": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Writes with numbers from oldest on are under way, and those before upto are gone.
        oldest = Signal(self._bits)
        upto = Signal(self._bits)
        after = Signal(self._bits)
        now_upto = upto
        for port in range(len(self.returned)):
            number = self.returned_number[port]
            ahead = (number - oldest)[: self._bits]
            under_way = ahead < (self.number - oldest)[: self._bits]
            # Those before it are gone, too; it may be gone already, if a flush came before it.
            fresh = ahead >= (now_upto - oldest)[: self._bits]
            now_upto = Mux(self.returned[port] & under_way & fresh, number + 1, now_upto)[
                : self._bits
            ]
        m.d.comb += [
            self.gone.eq(oldest != upto),
            self.empty.eq(oldest == self.number),
            after.eq(self.number + self.taken),
        ]
        m.d.sync += [
            self.number.eq(after),
            oldest.eq(oldest + self.gone),
            upto.eq(Mux(self.flush, self.number, now_upto)),
            # One number stays free, and one more for a write that is handed over in this cycle.
            self.room.eq((after + 1 - oldest)[: self._bits] != 0),
        ]
        return m


class DroppedWrites(wiring.Component):
    """Tells when a hard block has dropped what it held, because bus mastering went off.

    Such a write gives no number back, and nobody else says that it is gone: it is some cycles after
    the fall, also where bus mastering is on again by then. Writes of later wait for that, so that
    they are not taken for dropped.

    Parameters
    ----------
    cycles : int
        From the fall until the block has dropped everything, 1 or more.

    Attributes
    ----------
    bus_master_enable : In(1)
    flush : Out(1)
        What is under way counts as gone.
    hold : Out(1)
        No write is to begin.

    Raises
    ------
    ValueError
        ``cycles`` is less than 1.
    """

    def __init__(self, cycles: int):
        if cycles < 1:
            raise ValueError(f"cycles is {cycles}: must be 1 or more")
        self._cycles = cycles
        super().__init__({"bus_master_enable": In(1), "flush": Out(1), "hold": Out(1)})

    def elaborate(self, platform):
        m = Module()
        since_fall = Signal(range(self._cycles + 1))
        m.d.comb += [
            self.flush.eq(since_fall == self._cycles),
            # While it is off, what has begun leaves, to be dropped.
            self.hold.eq(self.bus_master_enable & since_fall.any()),
        ]
        with m.If(~self.flush):
            m.d.sync += since_fall.eq(since_fall + (~self.bus_master_enable | since_fall.any()))
        with m.Elif(self.bus_master_enable):
            m.d.sync += since_fall.eq(0)
        return m
