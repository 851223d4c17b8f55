# SPDX-License-Identifier: BSD-2-Clause
"""Streams with the ready latency of Avalon-ST, as Intel's hard blocks have them.

Ready does not speak of the cycle that it is in, but of one some cycles later; and no packet that
has begun may pause while the block is ready (P-Tile user guide, 683059, "Avalon-ST TX Interface";
L- and H-Tile user guide, 683111, "Avalon-ST 512-Bit TX Interface").
"""

from amaranth.hdl import Cat, Module, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..fifo import StreamFifo

__all__ = ["PacketSender", "ReceiveBuffer"]

CYCLES_TO_FALL = 3
"""From the word that makes the memory half full until the block sees that ready is low."""


class ReceiveBuffer(wiring.Component):
    """Takes what still comes after ready has fallen.

    Parameters
    ----------
    shape : ShapeLike
        Of a word.
    allowance : int
        Cycles, 1 or more, in which words may come after ready has fallen.

    Attributes
    ----------
    valid : In(1), p : In(shape)
        A word, which is taken.
    ready : Out(1)
        To the block.
    o : Out(stream of shape)

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
        m.d.sync += self.ready.eq(fifo.roomy)
        return m


class PacketSender(wiring.Component):
    """Sends a packet once all of it is there, a word in each cycle for which the block is ready.

    Parameters
    ----------
    layout : data.Layout
        Of a word; it has ``last``, set on the last word of a packet.
    depth : int
        Words that it holds, a power of two of 2 or more. A packet may have as many.
    latency : int
        Cycles, 2 or more, from ready to the cycle of which it speaks.

    Attributes
    ----------
    i : In(stream of layout)
    ready : In(1)
        From the block.
    valid : Out(1), p : Out(layout)
        A word, which the block takes.

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

        # Two cycles after its last word was stored, so that the FIFO has no bubble before it.
        stored = Signal()
        whole = Signal(range(self._depth + 3))
        inside = Signal()
        history = Signal(self._latency - 1)
        may_begin = Signal()
        goes = Signal()
        ends = Signal()
        m.d.comb += [
            may_begin.eq(inside | (whole != 0)),
            fifo.o.ready.eq(history[-1] & may_begin),
            goes.eq(fifo.o.valid & fifo.o.ready),
            ends.eq(goes & fifo.o.p.last),
        ]
        m.d.sync += [
            stored.eq(fifo.i.valid & fifo.i.ready & fifo.i.p.last),
            whole.eq(whole + stored - ends),
            history.eq(Cat(self.ready, history)),
            self.valid.eq(goes),
            self.p.eq(fifo.o.p),
        ]
        with m.If(goes):
            m.d.sync += inside.eq(~fifo.o.p.last)
        return m
