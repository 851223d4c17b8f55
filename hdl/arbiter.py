# SPDX-License-Identifier: BSD-2-Clause
"""Round-robin selection, and an arbiter of TLP streams."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PacketArbiter", "round_robin"]


def round_robin(requests: Value, last: Value) -> Value:
    """Index of the first set bit of ``requests`` after bit ``last``, cyclic; undefined if none is
    set."""
    count = len(requests)
    if count == 1:
        return Const(0, 1)
    later = requests & Cat(Const(0, 1), *(last < index for index in range(1, count)))
    bits = (count - 1).bit_length()
    return Mux(later.any(), Cat(_first(later, bits)), Cat(_first(requests, bits)))


def _first(requests: Value, bits: int) -> list[Value]:
    """The ``bits`` bits of the index of the first set bit, by a tree: a chain of multiplexers is
    slower."""
    if not bits:
        return []
    half = 1 << bits - 1
    lower = _first(requests[:half], bits - 1)
    if len(requests) <= half:
        return [*lower, Const(0, 1)]
    upper = _first(requests[half:], bits - 1)
    in_lower = requests[:half].any()
    return [*(Mux(in_lower, *pair) for pair in zip(lower, upper, strict=True)), ~in_lower]


class PacketArbiter(wiring.Component):
    """Merges TLP streams into one registered stream, one whole TLP after another.

    The first ``priority`` inputs go before the others, in index order: no other TLP begins while
    one of them is valid. The others are arbitrated round-robin. The next input is selected one
    cycle ahead, while the current TLP ends, so that no cycle is lost between inputs that are both
    valid. While no input is valid, ``parked`` is selected, so that it alone starts without that
    cycle.

    Parameters
    ----------
    signature : stream.Signature
        Signature of every input and of the output; its payload has ``eop``.
    count : int
        Number of inputs.
    priority : int
        Number of inputs with priority.
    parked : int
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

    def __init__(
        self, signature: stream.Signature, *, count: int, priority: int = 0, parked: int = 0
    ):
        if count < 1 or not 0 <= priority <= count:
            raise ValueError(
                f"count is {count}, priority is {priority}: need 0 <= priority <= count"
            )
        if not 0 <= parked < count:
            raise ValueError(f"parked is {parked}: must be 0 to {count - 1}, a number of an input")
        self._priority = priority
        self._parked = parked
        super().__init__({"i": In(signature).array(count), "o": Out(signature)})

    def elaborate(self, platform):
        m = Module()
        count, priority = len(self.i), self._priority
        valids = Signal(count)
        m.d.comb += [valids[index].eq(self.i[index].valid) for index in range(count)]

        selected = Signal(range(max(count, 2)), init=self._parked)
        last = Signal(range(max(count, 2)), init=count - 1)
        in_packet = Signal()
        can_load = Signal()
        transfers = Signal()
        packet_ends = Signal()
        m.d.comb += can_load.eq(~self.o.valid | self.o.ready)
        priority_waits = ~in_packet & valids[:priority].any() if priority else Const(0)
        eop = Signal()
        merged = 0
        for index in range(count):
            blocked = priority_waits if index >= priority else Const(0)
            # One register per input, cleared while another input is selected, so that OR gates
            # merge them: multiplexers would take twice the area.
            payload = Signal(self.o.p.shape(), reset_less=True, name=f"payload_{index}")
            merged = merged | Value.cast(payload)
            with m.If(can_load):
                m.d.sync += payload.eq(self.i[index].p)
            with m.If(can_load & (selected != index)):
                m.d.sync += payload.eq(0)
            with m.If(selected == index):
                m.d.comb += [
                    transfers.eq(valids[index] & ~blocked),
                    eop.eq(self.i[index].p.eop),
                    self.i[index].ready.eq(can_load & ~blocked),
                ]
        m.d.comb += [self.o.p.eq(merged), packet_ends.eq(transfers & can_load & eop)]
        with m.If(can_load):
            m.d.sync += self.o.valid.eq(transfers)
            with m.If(transfers):
                m.d.sync += in_packet.eq(~eop)

        others = Signal(count)
        m.d.comb += [
            others[index].eq(valids[index] & (selected != index)) for index in range(count)
        ]
        pick: Value | int = round_robin(others & ~((1 << priority) - 1), last)
        for index in reversed(range(priority)):
            pick = Mux(others[index], index, pick)
        with m.If(packet_ends | ~(transfers | in_packet)):
            with m.If(others.any()):
                m.d.sync += selected.eq(pick)
            with m.Elif(~packet_ends):
                m.d.sync += selected.eq(self._parked)
        with m.If(transfers & (selected >= priority)):
            m.d.sync += last.eq(selected)
        return m
