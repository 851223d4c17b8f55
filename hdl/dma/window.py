# SPDX-License-Identifier: BSD-2-Clause
"""DMA window: an AXI4 subordinate that turns bursts into memory requests, and its stand-in."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..errors import COMPLETION_ERRORS, ErrorPulses
from ..geometry import Geometry
from ..interfaces import FunctionControl, WriteFence
from ..tlp import completion_signature, header_signature, raw_signature
from .axi import AxiSignature
from .read import ReadRequester
from .write import WriteRequester

__all__ = ["DmaWindow", "NoDmaWindow"]


class DmaWindow(wiring.Component):
    """DMA window: a read half and a write half, which share only their settings.

    Parameters
    ----------
    geometry : Geometry
        Widths and addresses.
    completion_timeout : int
        As in :class:`~hdl.dma.read.ReadRequester`.

    Attributes
    ----------
    axi : In(AxiSignature(data_width))
        INCR bursts, and single beats of any burst type; beats may be narrow and unaligned. A burst
        that is not served, did not reach the host, or failed there is answered with SLVERR. Read
        bursts are answered in the order of their addresses, and so are write bursts.
    reads : Out(header_signature())
        Memory reads.
    writes : Out(raw_signature(data_width))
        Memory writes.
    completions : In(completion_signature(data_width))
        Completions; ``ready`` is always high.
    control : In(FunctionControl())
        Settings of the function, and its reset.
    confirmed : In(1)
        As in :class:`~hdl.dma.write_sender.WriteSender`.
    empty : Out(1)
        As in :class:`~hdl.dma.write_sender.WriteSender`.
    fence : Out(WriteFence())
        Write bursts in flight.
    outstanding : Out(1)
        A read has departed and is not completed.
    read_failed, write_failed : Out(1)
        One-cycle pulses: a read or write burst is answered with SLVERR.
    errors : Out(ErrorPulses(COMPLETION_ERRORS))
        Errors in completions.
    former : Out(1)
        A request of either half was made before a setting fell or before a reset, and has not left.
        Valid from the next cycle on.
    """

    def __init__(self, geometry: Geometry, *, completion_timeout: int):
        self._geometry = geometry
        self._read = ReadRequester(geometry, completion_timeout=completion_timeout)
        width = geometry.data_width
        super().__init__(
            {
                "axi": In(AxiSignature(width)),
                "reads": Out(header_signature()),
                "writes": Out(raw_signature(width)),
                "completions": In(completion_signature(width)),
                "control": In(FunctionControl()),
                "confirmed": In(1),
                "empty": Out(1),
                "fence": Out(WriteFence()),
                "outstanding": Out(1),
                "read_failed": Out(1),
                "write_failed": Out(1),
                "errors": Out(ErrorPulses(COMPLETION_ERRORS)),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.read = read = self._read
        m.submodules.write = write = WriteRequester(self._geometry)
        axi = wiring.flipped(self.axi)
        for source, sink in (
            (axi.aw, write.aw),
            (axi.w, write.w),
            (write.b, axi.b),
            (axi.ar, read.ar),
            (read.r, axi.r),
            (read.o, wiring.flipped(self.reads)),
            (write.o, wiring.flipped(self.writes)),
            (write.fence, wiring.flipped(self.fence)),
            (read.errors, wiring.flipped(self.errors)),
            (wiring.flipped(self.control), read.control),
            (wiring.flipped(self.control), write.control),
            (wiring.flipped(self.completions), read.completions),
        ):
            wiring.connect(m, source, sink)
        m.d.comb += [
            write.confirmed.eq(self.confirmed),
            self.empty.eq(write.empty),
            self.outstanding.eq(read.outstanding),
            self.read_failed.eq(read.failed),
            self.write_failed.eq(write.failed),
            self.former.eq(read.former | write.former),
        ]
        return m


class NoDmaWindow(wiring.Component):
    """Stand-in without a DMA window: every completion is unexpected.

    Attributes
    ----------
    completions : In(completion_signature(data_width))
        Accepted and dropped; ``ready`` is always high.
    empty : Out(1)
        Always high.
    errors : Out(ErrorPulses(COMPLETION_ERRORS))
        ``completion_unexpected``: a completion was dropped.
    fence, outstanding, read_failed, write_failed, former : Out
        As in :class:`DmaWindow`; always low.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "completions": In(completion_signature(geometry.data_width)),
                "empty": Out(1, init=1),
                "fence": Out(WriteFence()),
                "outstanding": Out(1),
                "read_failed": Out(1),
                "write_failed": Out(1),
                "errors": Out(ErrorPulses(COMPLETION_ERRORS)),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.completions.ready.eq(1)
        unexpected = self.errors.completion_unexpected
        m.d.sync += unexpected.eq(self.completions.valid & self.completions.p.sop)
        return m
