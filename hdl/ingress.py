# SPDX-License-Identifier: BSD-2-Clause
"""Request ingress: memory requests in, an ordered stream of word operations out.

Rules of PCI Express Base 4.0: byte enables, section 2.2.5; 4 KiB crossing, 2.2.7; unsupported
requests, 2.3.1; poisoned writes, 2.7.2. A payload that is shorter or longer than its header says is
taken as far as both agree.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .lanes import rotate_left_lanes
from .operation import Geometry, Target, operation_layout
from .tlp import CompletionStatus, RequestHeader, TlpType, request_signature

__all__ = ["RequestIngress"]


class RequestIngress(wiring.Component):
    """Turns request TLPs into operations; one register stage, one beat a cycle.

    A write whose payload is not aligned to words takes one cycle more when its last dwords spill
    into a further word.

    Attributes
    ----------
    i : In(request_signature(data_width))
        Requests. ``bar_id`` says which BAR matched; one that is not the shell's means none.
    o : Out(stream)
        Operations, see :func:`~hdl.operation.operation_layout`, in the order of the requests.
    unsupported_posted, unsupported_non_posted : Out(1)
        One-cycle pulses: a posted request was dropped, a non-posted one is answered with
        Unsupported Request.
    poisoned : Out(1)
        One-cycle pulse: a poisoned write was dropped.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(request_signature(geometry.data_width)),
                "o": Out(stream.Signature(operation_layout(geometry))),
                "unsupported_posted": Out(1),
                "unsupported_non_posted": Out(1),
                "poisoned": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        beat = self.i.p
        header = RequestHeader(beat.hdr)
        word0 = header.word0

        address = header.low_address
        length = Signal(11)
        m.d.comb += length.eq(Cat(word0.length, word0.length == 0))

        is_prefix = word0.is_prefix
        is_memory = word0.type == TlpType.MEMORY
        is_locked = word0.type == TlpType.MEMORY_LOCKED
        is_message = word0.is_message
        is_completion = word0.is_completion
        is_cas = word0.type == TlpType.COMPARE_AND_SWAP
        is_atomic = (word0.type == TlpType.FETCH_ADD) | (word0.type == TlpType.SWAP) | is_cas
        is_write = Signal()
        posted = Signal()
        crosses = Signal()
        target = Signal(Target)
        served = Signal()
        m.d.comb += [
            is_write.eq(is_memory & word0.has_payload & ~is_prefix),
            posted.eq(is_write | is_message | is_completion | is_prefix),
            crosses.eq(address[2:12] + length > 1024),
            target.eq(Target.NONE),
            served.eq(
                is_memory & ~is_prefix & (target != Target.NONE) & (beat.func_num == 0) & ~crosses
            ),
        ]
        with m.Switch(beat.bar_id):
            for bar, name in (
                (g.shell.register_bar, Target.REGISTERS),
                (g.shell.fifo_bar, Target.FIFOS),
                (g.shell.msix_bar, Target.MSIX),
            ):
                with m.Case(bar):
                    m.d.comb += target.eq(name)

        # BARs are aligned to their size, so the offset within one is the address's low bits.
        offset_dwords = Signal(g.dword_address_bits)
        with m.Switch(target):
            for name, bar in (
                (Target.REGISTERS, g.shell.register_bar),
                (Target.FIFOS, g.shell.fifo_bar),
                (Target.MSIX, g.shell.msix_bar),
            ):
                with m.Case(name):
                    top = (g.bar_sizes[bar] - 1).bit_length()
                    m.d.comb += offset_dwords.eq(address[2:top])
            with m.Default():
                # Only the lower address of an error completion is made of it.
                m.d.comb += offset_dwords.eq(address[2:7])

        started = Signal()
        flush = Signal()
        writing = Signal()
        write_target = Signal(Target)
        offset = Signal(range(g.lanes))
        remaining = Signal(11)
        last_be = Signal(4)
        word = Signal(g.word_address_bits)
        held_data = Signal(g.data_width)
        held_mask = Signal(g.word_bytes)

        active = Signal()
        now_offset = Signal.like(offset)
        now_remaining = Signal.like(remaining)
        now_last_be = Signal.like(last_be)
        now_word = Signal.like(word)
        now_target = Signal(Target)
        with m.If(beat.sop):
            m.d.comb += [
                active.eq(is_write & served & ~word0.ep),
                now_offset.eq(offset_dwords[: g.lane_bits]),
                now_remaining.eq(length),
                now_last_be.eq(header.last_be),
                now_word.eq(offset_dwords[g.lane_bits :]),
                now_target.eq(target),
            ]
        with m.Else():
            m.d.comb += [
                active.eq(started & writing),
                now_offset.eq(offset),
                now_remaining.eq(remaining),
                now_last_be.eq(last_be),
                now_word.eq(word),
                now_target.eq(write_target),
            ]

        enables = Signal(g.word_bytes)
        for lane in range(g.lanes):
            full = Mux(now_remaining == lane + 1, now_last_be, 0xF)
            if lane == 0:
                full = Mux(beat.sop, header.first_be, full)
            present = (now_remaining > lane) & beat.strb[lane]
            m.d.comb += enables[4 * lane : 4 * lane + 4].eq(Mux(present, full, 0))

        rotated_data = Signal(g.data_width)
        rotated_mask = Signal(g.word_bytes)
        current = Signal(g.word_bytes)
        m.d.comb += [
            rotated_data.eq(rotate_left_lanes(beat.data, now_offset, 32, g.lanes)),
            rotated_mask.eq(rotate_left_lanes(enables, now_offset, 4, g.lanes)),
        ]
        for lane in range(g.lanes):
            here = (now_offset <= lane) if lane < g.lanes - 1 else Const(1)
            m.d.comb += current[4 * lane : 4 * lane + 4].eq(here.replicate(4))
        spill = Signal(g.word_bytes)
        m.d.comb += spill.eq(rotated_mask & ~current)

        can_load = Signal()
        m.d.comb += [
            can_load.eq(~self.o.valid | self.o.ready),
            self.i.ready.eq(can_load & ~flush),
        ]

        out = self.o.p
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(can_load & flush):
            m.d.sync += [
                self.o.valid.eq(1),
                out.is_read.eq(0),
                out.target.eq(write_target),
                out.address.eq(word),
                out.data.eq(held_data),
                out.mask.eq(held_mask),
                flush.eq(0),
            ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += started.eq(~beat.eop)
            with m.If(active):
                keep = Mux(beat.sop, 0, held_mask)
                m.d.sync += [
                    self.o.valid.eq(1),
                    out.is_read.eq(0),
                    out.target.eq(now_target),
                    out.address.eq(now_word),
                    out.mask.eq((rotated_mask & current) | (keep & ~current)),
                    flush.eq(beat.eop & spill.any()),
                ]
                for lane in range(g.lanes):
                    bits = slice(32 * lane, 32 * lane + 32)
                    m.d.sync += out.data[bits].eq(
                        Mux(current[4 * lane], rotated_data[bits], held_data[bits])
                    )
            with m.If(beat.sop & ~posted):
                m.d.sync += [
                    self.o.valid.eq(1),
                    out.is_read.eq(1),
                    out.target.eq(target),
                ]
            m.d.sync += [
                writing.eq(active),
                write_target.eq(now_target),
                offset.eq(now_offset),
                remaining.eq(Mux(now_remaining > g.lanes, now_remaining - g.lanes, 0)),
                last_be.eq(now_last_be),
                word.eq(now_word + 1),
                held_data.eq(rotated_data),
                held_mask.eq(spill),
            ]
            with m.If(beat.sop):
                request = out.request
                m.d.sync += [
                    request.target.eq(target),
                    request.requester_id.eq(header.requester_id),
                    request.tag.eq(header.tag),
                    request.tc.eq(word0.tc),
                    request.attr.eq(word0.attr),
                    request.ido.eq(word0.ido),
                    request.locked.eq(is_locked),
                    request.status.eq(
                        Mux(
                            served,
                            CompletionStatus.SUCCESS.value,
                            CompletionStatus.UNSUPPORTED_REQUEST.value,
                        )
                    ),
                ]
                with m.If(is_memory | is_locked):
                    m.d.sync += [
                        request.address.eq(offset_dwords),
                        request.length.eq(length),
                        request.first_be.eq(header.first_be),
                        request.last_be.eq(header.last_be),
                    ]
                with m.Else():
                    # Byte count of these is 4, an AtomicOp's its operand size; lower address is 0
                    # (section 2.2.9).
                    operand = Mux(is_cas, length >> 1, length)
                    m.d.sync += [
                        request.address.eq(0),
                        request.length.eq(Mux(is_atomic, operand, 1)),
                        request.first_be.eq(0xF),
                        request.last_be.eq(0xF),
                    ]

                m.d.comb += [
                    self.unsupported_posted.eq(posted & ~served & ~is_completion),
                    self.unsupported_non_posted.eq(~posted & ~served),
                    self.poisoned.eq(is_write & word0.ep),
                ]
        return m
