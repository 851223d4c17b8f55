# SPDX-License-Identifier: BSD-2-Clause
"""DMA window: an AXI4 subordinate that turns bursts into memory requests, and its stand-in."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..tlp import completion_signature, header_signature, raw_signature
from .axi import AxiSignature
from .limits import PENDING_WRITES
from .read import ReadRequester
from .write import WriteRequester

__all__ = ["DmaWindow", "NoDmaWindow"]

FROM_CONFIGURATION = ("reset", "bus_master_enable", "requester_id")
FROM_READS = ("timed_out", "unexpected", "unsupported", "aborted", "poisoned", "outstanding")


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
    reset : In(1)
        The function is being reset.
    bus_master_enable : In(1)
        Bus Master Enable of the Command register.
    timeout_disable : In(1)
        Completion Timeout Disable of Device Control 2.
    requester_id : In(16)
        Requester ID of the function.
    max_payload_size, max_read_request_size : In(3)
        Encodings of Device Control.
    confirmed : In(1)
        As in :class:`~hdl.dma.write_sender.WriteSender`.
    empty : Out(1)
        As in :class:`~hdl.dma.write_sender.WriteSender`.
    pending : Out(range(PENDING_WRITES + 1))
        As in :class:`~hdl.dma.write.WriteRequester`.
    taken, left : Out(1)
        As in :class:`~hdl.dma.write.WriteRequester`.
    read_failed, write_failed : Out(1)
        One-cycle pulses: a read or write burst is answered with SLVERR.
    timed_out, unexpected, unsupported, aborted, poisoned, outstanding : Out(1)
        As in :class:`~hdl.dma.read.ReadRequester`.
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
                "reset": In(1),
                "bus_master_enable": In(1),
                "timeout_disable": In(1),
                "requester_id": In(16),
                "max_payload_size": In(3),
                "max_read_request_size": In(3),
                "confirmed": In(1),
                "empty": Out(1),
                "pending": Out(range(PENDING_WRITES + 1)),
                "taken": Out(1),
                "left": Out(1),
                "read_failed": Out(1),
                "write_failed": Out(1),
                "former": Out(1),
                **dict.fromkeys(FROM_READS, Out(1)),
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
            (wiring.flipped(self.completions), read.completions),
        ):
            wiring.connect(m, source, sink)
        for name in FROM_CONFIGURATION:
            m.d.comb += [
                getattr(read, name).eq(getattr(self, name)),
                getattr(write, name).eq(getattr(self, name)),
            ]
        m.d.comb += [getattr(self, name).eq(getattr(read, name)) for name in FROM_READS]
        m.d.comb += [
            read.timeout_disable.eq(self.timeout_disable),
            read.max_read_request_size.eq(self.max_read_request_size),
            write.max_payload_size.eq(self.max_payload_size),
            write.confirmed.eq(self.confirmed),
            self.empty.eq(write.empty),
            self.pending.eq(write.pending),
            self.taken.eq(write.taken),
            self.left.eq(write.left),
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
    pending : Out(range(PENDING_WRITES + 1))
        Always 0.
    empty : Out(1)
        Always high.
    unexpected : Out(1)
        One-cycle pulse: a completion was dropped.
    taken, left, read_failed, write_failed, former : Out(1)
        Always low.
    timed_out, unsupported, aborted, poisoned, outstanding : Out(1)
        Always low.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "completions": In(completion_signature(geometry.data_width)),
                "pending": Out(range(PENDING_WRITES + 1)),
                "taken": Out(1),
                "left": Out(1),
                "empty": Out(1, init=1),
                "read_failed": Out(1),
                "write_failed": Out(1),
                "former": Out(1),
                **dict.fromkeys(FROM_READS, Out(1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.completions.ready.eq(1)
        m.d.sync += self.unexpected.eq(self.completions.valid & self.completions.p.sop)
        return m
