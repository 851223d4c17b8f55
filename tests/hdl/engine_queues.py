# SPDX-License-Identifier: BSD-2-Clause
"""A queue engine with inputs for the indices of all its queues."""

from amaranth.hdl import Elaboratable, Module, Shape, Signal, Value
from amaranth.lib import data

from hdl.queues.modulo import successor


class EngineQueues(Elaboratable):
    """Answers the ``queues`` of an engine.

    Attributes
    ----------
    engine : PopEngine or PushEngine
        The engine.
    indices, rewritten : Signal
        By FIFO: the index that the engine owns, and whether a host write of it takes effect.
    """

    def __init__(self, engine, g):
        self.engine = engine
        self._g = g
        self.indices = Signal(data.ArrayLayout(g.index_shape, g.num_fifos))
        self.rewritten = Signal(g.num_fifos)
        self._held = False

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = self.engine
        queues = self.engine.queues
        index = Signal(self._g.index_shape)
        m.d.comb += [
            index.eq(self.indices[queues.fifo]),
            queues.slot.index.eq(index),
            queues.slot.place.eq(self._g.place_of_slot(index)),
            queues.slot.next.eq(successor(index, self._g.layout.queue.capacity)),
            queues.rewritten.eq(self.rewritten.bit_select(queues.advance_fifo, 1)),
        ]
        return m

    def drive(self, ctx, indices, items, rewritten, *, holds):
        """Drive the queues of this cycle. Returns whether the engine is held.

        Parameters
        ----------
        indices, items : list
            By FIFO: the index that the engine owns, and the number of items.
        rewritten
            FIFOs whose index the host rewrites.
        holds : bool
            Another host write takes effect, unless one did in the cycle before.
        """
        queues = self.engine.queues
        hold = bool(rewritten) or (holds and not self._held)
        self._held = hold
        bits = Shape.cast(self._g.index_shape).width
        packed = sum(index << bits * fifo for fifo, index in enumerate(indices))
        ctx.set(Value.cast(self.indices), packed)
        ctx.set(self.rewritten, sum(1 << fifo for fifo in rewritten))
        ctx.set(queues.hold, hold)
        for port, least in ((queues.has_one, 1), (queues.has_two, 2)):
            ctx.set(port, sum((count >= least) << fifo for fifo, count in enumerate(items)))
        return hold
