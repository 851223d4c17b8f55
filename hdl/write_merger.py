# SPDX-License-Identifier: BSD-2-Clause
"""DMA writes and MSI-X writes in one ordered stream."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .block_options import BlockOptions
from .dma.confirmations import ConfirmationQueue
from .msix import interrupt_signature
from .tlp import raw_signature

__all__ = ["WriteMerger"]


class WriteMerger(wiring.Component):
    """Merges both inputs combinationally, one whole TLP after another; MSI-X writes have priority.

    An MSI-X write becomes valid only after the DMA writes that it must not pass have gone through
    here.

    Parameters
    ----------
    data_width : int
        Bits of a beat.
    block : BlockOptions
        With ``sequence_numbers``, TLPs are tracked until the hard block confirms them.

    Attributes
    ----------
    writes : In(raw_signature(data_width))
        DMA writes.
    interrupts : In(interrupt_signature())
        MSI-X writes.
    o : Out(raw_signature(data_width))
        Merged writes.
    confirmed : In(1)
        One-cycle pulse: the oldest TLP accepted from ``o`` has left the hard block.
    write_confirmed : Out(1)
        One-cycle pulse: ``confirmed``, and the TLP is a DMA write.
    empty : Out(1)
        Every TLP accepted from ``o`` has left the hard block; high without ``sequence_numbers``.
    """

    def __init__(self, data_width: int, block: BlockOptions):
        self._block = block
        super().__init__(
            {
                "writes": In(raw_signature(data_width)),
                "interrupts": In(interrupt_signature()),
                "o": Out(raw_signature(data_width)),
                "confirmed": In(1),
                "write_confirmed": Out(1),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The selection is fixed from the first cycle with `o.valid` to the end of the TLP.
        locked = Signal()
        interrupt_q = Signal()
        interrupt = Signal()
        has_space = Signal(init=1)
        valid = Signal()
        tlp_ends = Signal()
        m.d.comb += [
            interrupt.eq(Mux(locked, interrupt_q, self.interrupts.valid)),
            valid.eq(Mux(interrupt, self.interrupts.valid, self.writes.valid)),
            self.o.valid.eq(valid & has_space),
            self.o.p.eq(self.writes.p),
            self.writes.ready.eq(self.o.ready & has_space & ~interrupt),
            self.interrupts.ready.eq(self.o.ready & has_space & interrupt),
            tlp_ends.eq(self.o.valid & self.o.ready & self.o.p.eop),
        ]
        with m.If(interrupt):
            m.d.comb += [
                self.o.p[name].eq(self.interrupts.p[name]) for name in ("hdr", "sop", "eop")
            ]
            m.d.comb += [self.o.p.data.eq(self.interrupts.p.data), self.o.p.strb.eq(1)]
        m.d.sync += [
            locked.eq((locked | self.o.valid) & ~tlp_ends),
            interrupt_q.eq(interrupt),
        ]
        if self._block.sequence_numbers:
            m.submodules.queue = queue = ConfirmationQueue()
            m.d.comb += [
                has_space.eq(queue.has_space),
                queue.accepted.eq(tlp_ends),
                queue.mark.eq(~interrupt),
                queue.confirmed.eq(self.confirmed),
                self.write_confirmed.eq(queue.marked),
                self.empty.eq(queue.empty),
            ]
        else:
            m.d.comb += [has_space.eq(1), self.empty.eq(1)]
        return m
