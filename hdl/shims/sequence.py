# SPDX-License-Identifier: BSD-2-Clause
"""Sequence numbers that a hard block returns when a request has left it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DroppedWrites", "SequenceNumbers"]


class SequenceNumbers(wiring.Component):
    """Numbers writes and signals in order when each of them has left.

    A write that the block drops returns no number: it counts as gone when a later one has left, or
    with ``flush``.

    Parameters
    ----------
    bits : int
        Bits of a number. At most ``2**bits - 1`` writes are in flight.
    ports : int
        Maximum number of sequence numbers returned per cycle.

    Attributes
    ----------
    number : Out(bits)
        Number of the next write.
    has_space : Out(1)
        The next write may be handed over. Once high, it stays high until that happens.
    accepted : In(1)
        One-cycle pulse: the next write is handed over. Only with ``has_space``.
    returned : In(ports)
        A number is returned on the port, the lower port first.
    returned_number : In(bits).array(ports)
        The number. One that is not in flight is ignored.
    flush : In(1)
        All writes in flight count as gone.
    gone : Out(1)
        One-cycle pulse for each write that has left or was dropped.

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
                "has_space": Out(1, init=1),
                "accepted": In(1),
                "returned": In(ports),
                "returned_number": In(bits).array(ports),
                "flush": In(1),
                "gone": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Writes from `oldest` to `number` are in flight; those before `gone_upto` are gone.
        oldest = Signal(self._bits)
        gone_upto = Signal(self._bits)
        next_number = Signal(self._bits)
        next_gone_upto = gone_upto
        for port in range(len(self.returned)):
            number = self.returned_number[port]
            ahead = (number - oldest)[: self._bits]
            in_flight = ahead < (self.number - oldest)[: self._bits]
            # All before it are gone, too. It may itself be gone already, after a flush.
            advances = ahead >= (next_gone_upto - oldest)[: self._bits]
            next_gone_upto = Mux(
                self.returned[port] & in_flight & advances, number + 1, next_gone_upto
            )[: self._bits]
        m.d.comb += [
            self.gone.eq(oldest != gone_upto),
            next_number.eq(self.number + self.accepted),
        ]
        m.d.sync += [
            self.number.eq(next_number),
            oldest.eq(oldest + self.gone),
            gone_upto.eq(Mux(self.flush, self.number, next_gone_upto)),
            # Registered, so it allows for a write that is handed over in this cycle. One number
            # stays unused.
            self.has_space.eq((next_number + 1 - oldest)[: self._bits] != 0),
        ]
        return m


class DroppedWrites(wiring.Component):
    """Signals when a hard block has dropped its writes because bus mastering was disabled.

    Such a write returns no number: it counts as gone a number of cycles after the fall, even if bus
    mastering is enabled again by then. New writes are held back until then, so that they do not
    count as dropped.

    Parameters
    ----------
    cycles : int
        Cycles from the fall until the block has dropped everything, 1 or more.

    Attributes
    ----------
    bus_master_enable : In(1)
        Bus Master Enable of the Command register.
    flush : Out(1)
        All writes in flight count as gone.
    hold : Out(1)
        No write may begin.

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
            # While bus mastering is off, writes that have begun leave, and the block drops them.
            self.hold.eq(self.bus_master_enable & since_fall.any()),
        ]
        with m.If(~self.flush):
            m.d.sync += since_fall.eq(since_fall + (~self.bus_master_enable | since_fall.any()))
        with m.Elif(self.bus_master_enable):
            m.d.sync += since_fall.eq(0)
        return m
