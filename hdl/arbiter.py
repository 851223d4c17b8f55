# SPDX-License-Identifier: BSD-2-Clause
"""Fair choice: the round-robin pick, and an arbiter of TLP streams that never splits a TLP."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PacketArbiter", "round_robin"]


def round_robin(requests: Value, last: Value) -> Value:
    """The next set bit of ``requests`` after bit ``last``, coming round; 0 where none is set."""
    count = len(requests)
    pick: Value | int = 0
    for index in reversed(range(count)):
        pick = Mux(requests[index], index, pick)
    for index in reversed(range(1, count)):
        pick = Mux(requests[index] & (last < index), index, pick)
    return Value.cast(pick)


class PacketArbiter(wiring.Component):
    """Merges TLP streams into one, a whole TLP at a time, without a cycle of latency.

    The first ``urgent`` inputs go before the others, in their order; the others take turns. A
    choice that was offered stands until the TLP has left.

    Parameters
    ----------
    signature : stream.Signature
        Of every input and of the output; its payload has ``eop``.
    count : int
        Number of inputs.
    urgent : int
        How many of them go first.

    Attributes
    ----------
    i : In(signature) array of ``count``
    o : Out(signature)
    """

    def __init__(self, signature: stream.Signature, *, count: int, urgent: int = 0):
        if count < 1 or not 0 <= urgent <= count:
            raise ValueError(f"count is {count}, urgent is {urgent}: need 0 <= urgent <= count")
        self._urgent = urgent
        super().__init__({"i": In(signature).array(count), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        count = len(self.i)
        valids = Signal(count)
        m.d.comb += [valids[index].eq(self.i[index].valid) for index in range(count)]

        locked = Signal()
        held = Signal(range(count))
        last = Signal(range(count), init=count - 1)
        pick: Value | int = round_robin(valids & ~((1 << self._urgent) - 1), last)
        for index in reversed(range(self._urgent)):
            pick = Mux(valids[index], index, pick)
        chosen = Signal(range(count))
        m.d.comb += chosen.eq(Mux(locked, held, pick))

        for index in range(count):
            with m.If(chosen == index):
                m.d.comb += [
                    self.o.valid.eq(self.i[index].valid),
                    self.o.p.eq(self.i[index].p),
                    self.i[index].ready.eq(self.o.ready),
                ]
        with m.If(self.o.valid):
            m.d.sync += [
                held.eq(chosen),
                locked.eq(~(self.o.ready & self.o.p.eop)),
            ]
            with m.If(chosen >= self._urgent):
                m.d.sync += last.eq(chosen)
        return m
