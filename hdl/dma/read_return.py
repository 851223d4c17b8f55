# SPDX-License-Identifier: BSD-2-Clause
"""What reads have brought, to AXI, in the order of the bursts.

AMBA AXI4 (ARM IHI 0022E) section A5.3 wants that order for the bursts of one id; here all of them
keep it. Each beat has a response of its own (A3.4.4).
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..operation import Geometry
from .axi import Response, next_beat, read_data_channel
from .limits import REQUEST_BYTES
from .read_issue import TAG_BITS, Chunk

__all__ = ["ReadReturn"]


class ReadReturn(wiring.Component):
    """Returns one chunk after another, a beat a cycle.

    Attributes
    ----------
    r : Out
        Channel of :class:`~hdl.dma.axi.AxiSignature`. Beats of a chunk that failed have SLVERR and
        zeros.
    tag : In(TAG_BITS), chunk : In(Chunk), ready : In(1), failed : In(1)
        The oldest tag in use, what it is for, whether it may be returned, and whether it failed.
        It stays the oldest until it is retired.
    retire : Out(1)
        The tag's last beat is read in this cycle.
    read_enable, read_address : Out, read_data : In
        Buffer port: the word is there the cycle after, and stays until the next read. The address
        counts words and has the tag in its upper bits.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        words = REQUEST_BYTES // geometry.word_bytes
        super().__init__(
            {
                "r": Out(read_data_channel(geometry.data_width)),
                "tag": In(TAG_BITS),
                "chunk": In(Chunk),
                "ready": In(1),
                "failed": In(1),
                "retire": Out(1),
                "read_enable": Out(1),
                "read_address": Out(TAG_BITS + (words - 1).bit_length()),
                "read_data": In(geometry.data_width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word_bits = self._geometry.word_bytes.bit_length() - 1
        chunk, out = self.chunk, self.r.p

        continued = Signal()
        next_address = Signal.like(chunk.offset)
        next_left = Signal.like(chunk.beats)
        address = Signal.like(next_address)
        left = Signal.like(next_left)
        m.d.comb += [
            address.eq(Mux(continued, next_address, chunk.offset)),
            left.eq(Mux(continued, next_left, chunk.beats)),
        ]

        step = Signal()
        final = left == 1
        zero = Signal()
        free = ~self.r.valid | self.r.ready
        m.d.comb += [
            step.eq(free & self.ready),
            self.retire.eq(step & final),
            self.read_enable.eq(step),
            self.read_address.eq(Cat(address[word_bits:], self.tag)),
        ]
        with m.If(free):
            m.d.sync += self.r.valid.eq(step)
        with m.If(step):
            m.d.sync += [
                continued.eq(~final),
                next_address.eq(next_beat(address, chunk.size)),
                next_left.eq(left - 1),
                out.id.eq(chunk.id),
                out.resp.eq(Mux(self.failed, Response.SLVERR, Response.OKAY)),
                out.last.eq(final & chunk.last),
                zero.eq(self.failed),
            ]
        m.d.comb += out.data.eq(Mux(zero, 0, self.read_data))
        return m
