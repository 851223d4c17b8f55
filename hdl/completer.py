# SPDX-License-Identifier: BSD-2-Clause
"""Completer: read requests in, completions out, split where PCI Express wants them split.

Rules of PCI Express Base 4.0: byte count and lower address, section 2.2.9; the read-completion
boundary of an endpoint is 128 bytes, section 2.3.1.1. Every split here falls on a multiple of the
maximum payload size, hence of both boundaries.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from .operation import Geometry, ReadRequest, Target
from .payload import PayloadAligner, is_direct, last_strobes, words_taken
from .tlp import (
    CompletionHeader,
    CompletionStatus,
    TlpFormat,
    TlpType,
    coded_dwords,
    raw_signature,
)

__all__ = ["Completer", "byte_count", "first_byte"]

REQUEST_DEPTH = 8
"""Requests that wait here while completions are held up, letting posted writes go by."""


def first_byte(first_be: Value) -> Value:
    """Address bits 1:0 of the first enabled byte; 0 where none is (table 2-39)."""
    return Mux(first_be[0] | ~first_be.any(), 0, Mux(first_be[1], 1, Mux(first_be[2], 2, 3)))


def _bytes_after(last_be: Value) -> Value:
    return Mux(last_be[3], 0, Mux(last_be[2], 1, Mux(last_be[1], 2, 3)))


def byte_count(length: Value, first_be: Value, last_be: Value) -> Value:
    """Bytes from the first enabled one to the last (table 2-38), 1 to 4,096, in 13 bits.

    A dword with no byte enabled counts as if byte 0 were: a zero-length read is one byte.
    """
    final = Mux(length == 1, first_be, last_be)
    return ((length << 2) - first_byte(first_be) - _bytes_after(final))[:13]


class Completer(wiring.Component):
    """Answers each read request with one or more completions.

    Words are read over a port with one cycle of latency that is held by ``read_enable``: the word
    at ``read_address`` of ``read_target`` is taken from ``read_data`` the cycle after
    ``read_enable``, and stays there until the next one.

    Attributes
    ----------
    i : In(stream of ReadRequest)
        Requests, in order.
    o : Out(raw_signature(data_width))
        Completions, in the order of the requests.
    read_enable, read_target, read_address : Out
        Word wanted.
    read_data : In(data_width)
        The word.
    completer_id : In(16)
        Bus, device and function number.
    max_payload_size : In(3)
        Encoding of the Device Control register: 128 bytes shifted left by it; above 5 counts as 5.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(ReadRequest(geometry))),
                "o": Out(raw_signature(geometry.data_width)),
                "read_enable": Out(1),
                "read_target": Out(Target),
                "read_address": Out(geometry.word_address_bits),
                "read_data": In(geometry.data_width),
                "completer_id": In(16),
                "max_payload_size": In(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        lanes, lane_bits = g.lanes, g.lane_bits

        layout = ReadRequest(g)
        m.submodules.queue = queue = fifo.SyncFIFO(width=layout.size, depth=REQUEST_DEPTH)
        m.d.comb += [
            queue.w_data.eq(self.i.p),
            queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
        ]
        request = data.View(layout, queue.r_data)

        # What is left of the request at the head of the queue once its first completion is under
        # way.
        continued = Signal()
        left_address = Signal(g.dword_address_bits)
        left_dwords = Signal(11)
        left_bytes = Signal(13)

        address = Signal.like(left_address)
        dwords = Signal.like(left_dwords)
        bytes_left = Signal.like(left_bytes)
        with m.If(continued):
            m.d.comb += [
                address.eq(left_address),
                dwords.eq(left_dwords),
                bytes_left.eq(left_bytes),
            ]
        with m.Else():
            m.d.comb += [
                address.eq(request.address),
                dwords.eq(request.length),
                bytes_left.eq(byte_count(request.length, request.first_be, request.last_be)),
            ]

        # Bytes of the first dword before the first one asked for.
        skipped = Signal(2)
        m.d.comb += skipped.eq(Mux(continued, 0, first_byte(request.first_be)))

        completion = Const(TlpType.COMPLETION.value, 5)
        with_data, without_data = TlpFormat.DATA_3DW.value, TlpFormat.HEADER_3DW.value
        success = request.status == CompletionStatus.SUCCESS
        payload_dwords = Signal(11)
        room = Signal(11)
        segment = Signal(11)
        m.d.comb += [
            payload_dwords.eq(coded_dwords(self.max_payload_size)),
            room.eq(payload_dwords - (address & (payload_dwords - 1))),
            segment.eq(Mux(dwords > room, room, dwords)),
        ]

        # A step reads one word.
        offset = Signal(lane_bits)
        steps = Signal(range(1024 // lanes + 2))
        m.d.comb += [
            offset.eq(address[:lane_bits]),
            steps.eq(Mux(success, words_taken(offset, segment, lanes), 1)),
        ]

        busy = Signal()
        step_word = Signal(g.word_address_bits)
        steps_left = Signal.like(steps)
        step_request_done = Signal()

        step = Signal()
        stage_free = Signal()
        start = queue.r_rdy & ~busy
        final_step = Mux(busy, steps_left == 1, steps == 1)
        request_done = Mux(busy, step_request_done, ~success | (dwords == segment))
        m.d.comb += [
            step.eq((start | busy) & stage_free),
            self.read_enable.eq(step),
            self.read_target.eq(request.target),
            self.read_address.eq(Mux(busy, step_word, address[lane_bits:])),
            queue.r_en.eq(step & final_step & request_done),
        ]
        with m.If(step):
            m.d.sync += [
                step_word.eq(self.read_address + 1),
                steps_left.eq(Mux(busy, steps_left, steps) - 1),
                busy.eq(~final_step),
            ]
            with m.If(~busy):
                m.d.sync += [
                    step_request_done.eq(request_done),
                    continued.eq(~request_done),
                    left_address.eq(address + segment),
                    left_dwords.eq(dwords - segment),
                    left_bytes.eq(bytes_left - (segment << 2) + skipped),
                ]

        # The word is there the cycle after.
        m.submodules.aligner = aligner = PayloadAligner(g)
        word = aligner.i.p
        header = Signal(CompletionHeader)
        m.d.comb += [
            stage_free.eq(~aligner.i.valid | aligner.i.ready),
            word.data.eq(self.read_data),
            word.hdr.eq(header),
        ]
        wiring.connect(m, aligner.o, wiring.flipped(self.o))
        with m.If(stage_free):
            m.d.sync += aligner.i.valid.eq(step)
        with m.If(step):
            m.d.sync += [word.first.eq(~busy), word.last.eq(final_step)]
            with m.If(~busy):
                m.d.sync += [
                    word.offset.eq(Mux(success, offset, 0)),
                    word.direct.eq(~success | is_direct(offset, segment, lanes)),
                    word.strb.eq(Mux(success, last_strobes(segment, lanes), 0)),
                    header.lower_address.eq(Cat(skipped, address[:5])),
                    header.tag.eq(request.tag),
                    header.requester_id.eq(request.requester_id),
                    header.byte_count.eq(bytes_left[:12]),
                    header.status.eq(request.status),
                    header.completer_id.eq(self.completer_id),
                    header.word0.length.eq(Mux(success, segment[:10], 0)),
                    header.word0.attr.eq(request.attr),
                    header.word0.ido.eq(request.ido),
                    header.word0.tc.eq(request.tc),
                    header.word0.type.eq(Cat(request.locked, completion[1:])),
                    header.word0.fmt.eq(Mux(success, with_data, without_data)),
                ]
        return m
