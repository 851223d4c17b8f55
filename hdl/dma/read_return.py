# SPDX-License-Identifier: BSD-2-Clause
"""Returns the data of reads to AXI, in the order of the bursts.

AMBA AXI4 (ARM IHI 0022E) section A5.3 requires that order only among bursts with the same ID; here
all bursts keep it. Each beat has its own response (A3.4.4).
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from .axi import Response, next_beat, read_data_channel
from .limits import REQUEST_BYTES
from .read_issue import TAG_BITS, ReadContext

__all__ = ["ReadReturn"]


class ReadReturn(wiring.Component):
    """Returns the data of one tag after another: a beat per cycle, a tag every other cycle at most.

    There are four register stages: the next tag; the tag whose beats are fetched; the output of the
    buffer; the channel.

    Attributes
    ----------
    r : Out(read_data_channel(data_width))
        R channel. Beats of a failed read have SLVERR and zeros.
    reset : In(1)
        The function is being reset: every tag that was taken and is not fully fetched fails.
    tag : In(TAG_BITS)
        The oldest tag that has not been taken.
    chunk : In(ReadContext)
        How to return its data.
    ready : In(1)
        The tag may be taken.
    failed : In(1)
        Its read failed.
    take : Out(1)
        One-cycle pulse: the tag is taken.
    retire : Out(1)
        One-cycle pulse: the last beat of a tag was fetched.
    lost : Out(1)
        With ``retire``: its read failed.
    read_enable : Out(1)
        Fetch a word from the buffer.
    read_address : Out(TAG_BITS + word bits)
        Word within the tag, below the tag.
    read_data : In(data_width)
        The word, from the next cycle until the next fetch.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        words = REQUEST_BYTES // geometry.word_bytes
        super().__init__(
            {
                "r": Out(read_data_channel(geometry.data_width)),
                "reset": In(1),
                "tag": In(TAG_BITS),
                "chunk": In(ReadContext),
                "ready": In(1),
                "failed": In(1),
                "take": Out(1),
                "retire": Out(1),
                "lost": Out(1),
                "read_enable": Out(1),
                "read_address": Out(TAG_BITS + (words - 1).bit_length()),
                "read_data": In(geometry.data_width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word_bits = self._geometry.word_bytes.bit_length() - 1
        out = self.r.p

        following = Signal(ReadContext)
        following_tag = Signal(TAG_BITS)
        following_failed = Signal()
        follows = Signal()
        m.d.comb += self.take.eq(self.ready & ~follows)
        with m.If(~follows):
            m.d.sync += [
                follows.eq(self.ready),
                following.eq(self.chunk),
                following_tag.eq(self.tag),
                following_failed.eq(self.failed),
            ]

        active = Signal()
        chunk = Signal(ReadContext)
        tag = Signal(TAG_BITS)
        failed = Signal()
        final = Signal()
        step = Signal()
        moves = Signal()
        m.d.comb += [
            moves.eq(follows & (~active | (step & final))),
            self.read_enable.eq(step),
            self.read_address.eq(Cat(chunk.offset[word_bits:], tag)),
        ]
        with m.If(step):
            m.d.sync += [
                chunk.offset.eq(next_beat(chunk.offset, chunk.size)),
                chunk.more.eq(chunk.more - 1),
                final.eq(chunk.more == 1),
                active.eq(~final),
            ]
        with m.If(moves):
            m.d.sync += [
                follows.eq(0),
                active.eq(1),
                chunk.eq(following),
                final.eq(following.more == 0),
                tag.eq(following_tag),
                failed.eq(following_failed),
            ]
        with m.If(self.reset):
            m.d.sync += [following_failed.eq(1), failed.eq(1)]
        m.d.sync += [self.retire.eq(step & final), self.lost.eq(step & final & failed)]

        fetched = Signal()
        identifier = Signal.like(out.id)
        last = Signal()
        void = Signal()
        can_load = ~self.r.valid | self.r.ready
        can_fetch = ~fetched | can_load
        m.d.comb += step.eq(active & can_fetch)
        with m.If(can_fetch):
            m.d.sync += [
                fetched.eq(active),
                identifier.eq(chunk.id),
                last.eq(final & chunk.last),
                void.eq(failed),
            ]
        with m.If(can_load):
            m.d.sync += [
                self.r.valid.eq(fetched),
                out.id.eq(identifier),
                out.resp.eq(Mux(void, Response.SLVERR, Response.OKAY)),
                out.last.eq(last),
                out.data.eq(self.read_data),
            ]
        # Clear the register instead of gating the data: the path from the memory has no slack.
        with m.If(can_load & void):
            m.d.sync += out.data.eq(0)
        return m
