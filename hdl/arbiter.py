# SPDX-License-Identifier: BSD-2-Clause
"""Fair choice: the round-robin pick, and an arbiter of TLP streams that never splits a TLP."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
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
    """Merges TLP streams into one, a whole TLP at a time, through registers.

    The first ``urgent`` inputs go before the others, in their order: no other TLP begins while one
    of them has something on offer. The others take turns. Who goes next is settled a cycle ahead,
    while the TLP before ends, so that nothing is lost between two inputs that have TLPs waiting;
    where nobody has, it is the turn of ``rest``, which alone is then spared that cycle.

    Parameters
    ----------
    signature : stream.Signature
        Of every input and of the output; its payload has ``eop``.
    count : int
        Number of inputs.
    urgent : int
        How many of them go first.
    rest : int
        Whose turn it is when nobody has a TLP.

    Attributes
    ----------
    i : In(signature) array of ``count``
    o : Out(signature)
    """

    def __init__(self, signature: stream.Signature, *, count: int, urgent: int = 0, rest: int = 0):
        if count < 1 or not 0 <= urgent <= count:
            raise ValueError(f"count is {count}, urgent is {urgent}: need 0 <= urgent <= count")
        if not 0 <= rest < count:
            raise ValueError(f"rest is {rest}: must be 0 to {count - 1}, a number of an input")
        self._urgent = urgent
        self._rest = rest
        super().__init__({"i": In(signature).array(count), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        count, urgent = len(self.i), self._urgent
        valids = Signal(count)
        m.d.comb += [valids[index].eq(self.i[index].valid) for index in range(count)]

        turn = Signal(range(max(count, 2)), init=self._rest)
        last = Signal(range(max(count, 2)), init=count - 1)
        inside = Signal()
        can_load = Signal()
        goes = Signal()
        ends = Signal()
        m.d.comb += can_load.eq(~self.o.valid | self.o.ready)
        waits = ~inside & valids[:urgent].any() if urgent else Const(0)
        last_beat = Signal()
        loaded = 0
        for index in range(count):
            held_back = waits if index >= urgent else Const(0)
            # A register for each input, cleared when another's turn it is: gates join those of all
            # where multiplexers, twice as large, would have to choose.
            own = Signal(self.o.p.shape(), reset_less=True, name=f"own_{index}")
            loaded = loaded | Value.cast(own)
            with m.If(can_load):
                m.d.sync += own.eq(self.i[index].p)
            with m.If(can_load & (turn != index)):
                m.d.sync += own.eq(0)
            with m.If(turn == index):
                m.d.comb += [
                    goes.eq(valids[index] & ~held_back),
                    last_beat.eq(self.i[index].p.eop),
                    self.i[index].ready.eq(can_load & ~held_back),
                ]
        m.d.comb += [self.o.p.eq(loaded), ends.eq(goes & can_load & last_beat)]
        with m.If(can_load):
            m.d.sync += self.o.valid.eq(goes)
            with m.If(goes):
                m.d.sync += inside.eq(~last_beat)

        others = Signal(count)
        m.d.comb += [others[index].eq(valids[index] & (turn != index)) for index in range(count)]
        pick: Value | int = round_robin(others & ~((1 << urgent) - 1), last)
        for index in reversed(range(urgent)):
            pick = Mux(others[index], index, pick)
        with m.If(ends | ~(goes | inside)):
            with m.If(others.any()):
                m.d.sync += turn.eq(pick)
            with m.Elif(~ends):
                m.d.sync += turn.eq(self._rest)
        with m.If(goes & (turn >= urgent)):
            m.d.sync += last.eq(turn)
        return m
