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
from .read_interfaces import TAG_BITS, BufferRead, ReadContext

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
    context : In(ReadContext)
        How to return its data.
    ready : In(1)
        The tag may be taken.
    failed : In(1)
        Its read failed.
    take : Out(1)
        One-cycle pulse: the tag is taken.
    retire : Out(1)
        One-cycle pulse: the last beat of a tag was fetched.
    retire_failed : Out(1)
        With ``retire``: its read failed.
    buffer : Out(BufferRead(geometry))
        Read port of the buffer.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "r": Out(read_data_channel(geometry.data_width)),
                "reset": In(1),
                "tag": In(TAG_BITS),
                "context": In(ReadContext),
                "ready": In(1),
                "failed": In(1),
                "take": Out(1),
                "retire": Out(1),
                "retire_failed": Out(1),
                "buffer": Out(BufferRead(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        word_bits = self._geometry.word_bytes.bit_length() - 1
        out = self.r.p

        next_context = Signal(ReadContext)
        next_tag = Signal(TAG_BITS)
        next_failed = Signal()
        next_valid = Signal()
        m.d.comb += self.take.eq(self.ready & ~next_valid)
        with m.If(~next_valid):
            m.d.sync += [
                next_valid.eq(self.ready),
                next_context.eq(self.context),
                next_tag.eq(self.tag),
                next_failed.eq(self.failed),
            ]

        context_valid = Signal()
        context = Signal(ReadContext)
        tag = Signal(TAG_BITS)
        failed = Signal()
        is_last = Signal()
        fetch = Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(next_valid & (~context_valid | (fetch & is_last))),
            self.buffer.enable.eq(fetch),
            self.buffer.address.eq(Cat(context.offset[word_bits:], tag)),
        ]
        with m.If(fetch):
            m.d.sync += [
                context.offset.eq(next_beat(context.offset, context.size)),
                context.beats_m1.eq(context.beats_m1 - 1),
                is_last.eq(context.beats_m1 == 1),
                context_valid.eq(~is_last),
            ]
        with m.If(advance):
            m.d.sync += [
                next_valid.eq(0),
                context_valid.eq(1),
                context.eq(next_context),
                is_last.eq(next_context.beats_m1 == 0),
                tag.eq(next_tag),
                failed.eq(next_failed),
            ]
        with m.If(self.reset):
            m.d.sync += [next_failed.eq(1), failed.eq(1)]
        m.d.sync += [
            self.retire.eq(fetch & is_last),
            self.retire_failed.eq(fetch & is_last & failed),
        ]

        word_valid = Signal()
        word_id = Signal.like(out.id)
        word_last = Signal()
        word_failed = Signal()
        can_load = ~self.r.valid | self.r.ready
        can_fetch = ~word_valid | can_load
        m.d.comb += fetch.eq(context_valid & can_fetch)
        with m.If(can_fetch):
            m.d.sync += [
                word_valid.eq(context_valid),
                word_id.eq(context.id),
                word_last.eq(is_last & context.last),
                word_failed.eq(failed),
            ]
        with m.If(can_load):
            m.d.sync += [
                self.r.valid.eq(word_valid),
                out.id.eq(word_id),
                out.resp.eq(Mux(word_failed, Response.SLVERR, Response.OKAY)),
                out.last.eq(word_last),
                out.data.eq(self.buffer.data),
            ]
        # Clear the register instead of gating the data: the path from the memory has no slack.
        with m.If(can_load & word_failed):
            m.d.sync += out.data.eq(0)
        return m
