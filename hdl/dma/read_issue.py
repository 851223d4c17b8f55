# SPDX-License-Identifier: BSD-2-Clause
"""Sends memory reads for AXI read bursts."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..departures import former_beat
from ..geometry import Geometry
from ..tlp import header_signature
from .axi import address_channel
from .limits import REQUEST_BYTES
from .read_interfaces import TAG_BITS, ExpectedData, ReadContext
from .read_split import ReadSplitter
from .span import span_header, span_length_m1

__all__ = ["ReadIssuer"]


class ReadIssuer(wiring.Component):
    """Splits bursts with :class:`~hdl.dma.read_split.ReadSplitter` and sends the pieces.

    When ``max_read_request_size`` falls, only a read that is already valid on ``o`` keeps its size.

    Attributes
    ----------
    ar : In(address_channel())
        AR channel.
    o : Out(header_signature())
        Memory reads. Once valid, a read is never withdrawn.
    reset : In(1)
        The function is being reset: everything accepted before that has not departed fails.
    bus_master_enable : In(1)
        Bus Master Enable of the Command register.
    requester_id : In(16)
        Requester ID of the function.
    max_read_request_size : In(3)
        Encoding of Device Control.
    tag_free : In(1)
        ``tag`` may be allocated.
    tag : In(TAG_BITS)
        The next tag.
    allocate : Out(1)
        One-cycle pulse: ``tag`` is allocated to ``context``.
    context : Out(ReadContext)
        How to return the data, with ``allocate``.
    expected : Out(ExpectedData)
        Data to expect, with ``allocate``.
    last_offset : Out(range(REQUEST_BYTES))
        Offset of the last byte of the piece, with ``allocate``.
    failed : Out(1)
        With ``allocate``: the piece fails and no read is sent.
    sent : Out(1)
        One-cycle pulse: a read departed in the cycle before, and its completions count.
    sent_tag : Out(TAG_BITS)
        Tag of that read.
    former : Out(1)
        ``o`` holds a read that was split before ``max_read_request_size`` fell, or that became
        valid before ``reset`` or before bus mastering went off. Valid from the next cycle on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "ar": In(address_channel()),
                "o": Out(header_signature()),
                "reset": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "max_read_request_size": In(3),
                "tag_free": In(1),
                "tag": In(TAG_BITS),
                "allocate": Out(1),
                "context": Out(ReadContext),
                "expected": Out(ExpectedData),
                "last_offset": Out(range(REQUEST_BYTES)),
                "failed": Out(1),
                "sent": Out(1),
                "sent_tag": Out(TAG_BITS),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        block_bits = (REQUEST_BYTES - 1).bit_length()
        m.submodules.splitter = splitter = ReadSplitter(g)
        piece, fell = splitter.piece, splitter.fell
        wiring.connect(m, wiring.flipped(self.ar), splitter.ar)
        m.d.comb += [
            splitter.reset.eq(self.reset),
            splitter.max_read_request_size.eq(self.max_read_request_size),
            splitter.accept.eq(self.allocate),
        ]

        offset = piece.address[:block_bits]
        length_m1 = span_length_m1(offset, piece.last_offset)
        last_byte = piece.last_offset[:2]
        # Registered: a read that becomes valid in the first cycle of a reset counts as one that was
        # valid before it.
        stopped_q = Signal(init=1)
        m.d.sync += stopped_q.eq(self.reset | ~self.bus_master_enable)
        aborts = piece.abort | stopped_q
        m.d.comb += [
            self.context.id.eq(piece.id),
            self.context.size.eq(piece.size),
            self.context.beats_m1.eq((piece.last_offset >> piece.size) - (offset >> piece.size)),
            self.context.last.eq(piece.last),
            self.context.offset.eq(offset),
            self.expected.offset.eq(offset),
            self.expected.dwords.eq(length_m1 + 1),
            self.expected.last_byte.eq(last_byte),
            self.last_offset.eq(piece.last_offset),
            self.failed.eq(aborts | self.reset),
            self.allocate.eq(
                splitter.piece_valid & self.tag_free & (aborts | ~self.o.valid) & ~fell
            ),
        ]

        issued_tag = Signal(TAG_BITS)
        issued_aborted = Signal()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.reset):
            m.d.sync += issued_aborted.eq(1)
        with m.If(self.allocate), m.If(~aborts):
            m.d.sync += [
                self.o.valid.eq(1),
                issued_aborted.eq(self.reset),
                issued_tag.eq(self.tag),
                self.o.p.hdr.eq(
                    span_header(
                        address=piece.address,
                        length_m1=length_m1,
                        last_byte=last_byte,
                        requester_id=self.requester_id,
                        tag=self.tag,
                        write=False,
                        force_64_bit_addresses=g.block.force_64_bit_addresses,
                    )
                ),
            ]
        m.d.comb += [
            self.o.p.sop.eq(1),
            self.o.p.eop.eq(1),
            self.former.eq(former_beat(m, self.o, fell | stopped_q)),
        ]
        m.d.sync += [
            self.sent.eq(self.o.valid & self.o.ready & ~issued_aborted & ~self.reset),
            self.sent_tag.eq(issued_tag),
        ]
        return m
