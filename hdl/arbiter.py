# SPDX-License-Identifier: BSD-2-Clause
"""Round-robin selection, and an arbiter of TLP streams."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PacketArbiter", "round_robin"]


def round_robin(requests: Value, last: Value) -> Value:
    """Index of the first set bit of ``requests`` after bit ``last``, cyclic; 0 if none is set."""
    count = len(requests)
    pick: Value | int = 0
    for index in reversed(range(count)):
        pick = Mux(requests[index], index, pick)
    for index in reversed(range(1, count)):
        pick = Mux(requests[index] & (last < index), index, pick)
    return Value.cast(pick)


class PacketArbiter(wiring.Component):
    """Merges TLP streams into one registered stream, one whole TLP after another.

    The first ``urgent`` inputs have priority over the others, in index order: no other TLP begins
    while one of them is valid. The others are arbitrated round-robin. The next input is selected
    one cycle ahead, while the current TLP ends, so that no cycle is lost between inputs that are
    both valid. While no input is valid, ``rest`` is selected, so that it alone starts without that
    cycle.

    Parameters
    ----------
    signature : stream.Signature
        Signature of every input and of the output; its payload has ``eop``.
    count : int
        Number of inputs.
    urgent : int
        Number of inputs with priority.
    rest : int
        Input that is selected while no input is valid.

    Attributes
    ----------
    i : In(signature) array of ``count``
        Inputs.
    o : Out(signature)
        Merged TLPs.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
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
            # One register per input, cleared while another input is selected, so that OR gates
            # merge them: multiplexers would take twice the area.
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
