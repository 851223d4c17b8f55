# SPDX-License-Identifier: BSD-2-Clause
"""Streams with the ready latency of Avalon-ST, as Intel's hard blocks have them.

``ready`` applies to a cycle some cycles later, and a packet in progress must not pause while the
block is ready (P-Tile user guide, 683059, "Avalon-ST TX Interface"; L- and H-Tile user guide,
683111, "Avalon-ST 512-Bit TX Interface").
"""

from amaranth.hdl import Cat, Module, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..fifo import StreamFifo

__all__ = ["PacketSender", "ReceiveBuffer"]

CYCLES_TO_FALL = 3
"""Cycles from the word that makes the memory half full until the block sees ``ready`` low."""


class ReceiveBuffer(wiring.Component):
    """Stores the words that still arrive after ``ready`` has fallen.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a word.
    allowance : int
        Cycles, 1 or more, in which words may arrive after ``ready`` has fallen.

    Attributes
    ----------
    valid : In(1)
        A word arrives; it is always accepted.
    p : In(shape)
        The word.
    ready : Out(1)
        ``ready`` of the block.
    o : Out(stream of shape)
        Words.

    Raises
    ------
    ValueError
        ``allowance`` is less than 1.
    """

    def __init__(self, shape: ShapeLike, *, allowance: int):
        if allowance < 1:
            raise ValueError(f"allowance is {allowance}: must be 1 or more")
        self._shape = shape
        self._depth = 2 << (allowance + CYCLES_TO_FALL - 1).bit_length()
        super().__init__(
            {
                "valid": In(1),
                "p": In(shape),
                "ready": Out(1),
                "o": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = StreamFifo(self._shape, depth=self._depth)
        wiring.connect(m, fifo.o, wiring.flipped(self.o))
        m.d.comb += [fifo.i.valid.eq(self.valid), fifo.i.p.eq(self.p)]
        m.d.sync += self.ready.eq(fifo.half_empty)
        return m


class PacketSender(wiring.Component):
    """Sends a packet once it is stored whole: one word in each cycle for which the block is ready.

    Parameters
    ----------
    layout : data.Layout
        Layout of a word, with ``last`` on the last word of a packet.
    depth : int
        Words of memory, a power of two of 2 or more. A packet has no more words than that.
    latency : int
        Cycles, 2 or more, from ``ready`` to the cycle that it applies to.

    Attributes
    ----------
    i : In(stream of layout)
        Words.
    ready : In(1)
        ``ready`` of the block.
    valid : Out(1)
        A word for the block, which accepts it.
    p : Out(layout)
        The word.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    def __init__(self, layout: data.Layout, *, depth: int, latency: int):
        if latency < 2:
            raise ValueError(f"latency is {latency}: must be 2 or more")
        self._fifo = StreamFifo(layout, depth=depth)
        self._depth = depth
        self._latency = latency
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "ready": In(1),
                "valid": Out(1),
                "p": Out(layout),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = self._fifo
        wiring.connect(m, wiring.flipped(self.i), fifo.i)

        # A packet is whole two cycles after its last word was accepted, so the FIFO has no bubble
        # before that word.
        packet_stored_q = Signal()
        whole_packets = Signal(range(self._depth + 3))
        in_packet = Signal()
        ready_q = Signal(self._latency - 1)
        may_begin = Signal()
        sends = Signal()
        ends = Signal()
        m.d.comb += [
            may_begin.eq(in_packet | (whole_packets != 0)),
            fifo.o.ready.eq(ready_q[-1] & may_begin),
            sends.eq(fifo.o.valid & fifo.o.ready),
            ends.eq(sends & fifo.o.p.last),
        ]
        m.d.sync += [
            packet_stored_q.eq(fifo.i.valid & fifo.i.ready & fifo.i.p.last),
            whole_packets.eq(whole_packets + packet_stored_q - ends),
            ready_q.eq(Cat(self.ready, ready_q)),
            self.valid.eq(sends),
            self.p.eq(fifo.o.p),
        ]
        with m.If(sends):
            m.d.sync += in_packet.eq(~fifo.o.p.last)
        return m
