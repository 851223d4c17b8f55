# SPDX-License-Identifier: BSD-2-Clause
"""Write aligner: moves write payloads to their words, and passes non-posted requests on in order.

Rules of PCI Express Base 4.0: 4 KiB crossing, section 2.2.7; unsupported requests, 2.3.1; poisoned
writes, 2.7.2.
"""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..errors import REQUEST_ERRORS, ErrorPulses
from ..geometry import Geometry
from ..lanes import rotate_left_lanes
from ..requests import BLOCK_BITS, PAGE_BIT, ReadRequest, Target, write_layout
from ..tlp import CompletionStatus
from .decoder import RequestBeat

__all__ = ["WriteAligner"]


class WriteAligner(wiring.Component):
    """Turns decoded requests into word writes and read requests.

    Each beat of a write makes one word write. If its last dwords spill into a further word, the
    input stalls for one cycle, the flush.

    Attributes
    ----------
    i : In(stream of RequestBeat)
        Decoded requests.
    writes : Out(stream of write_layout)
        Word writes.
    reads : Out(stream of ReadRequest)
        Non-posted requests. One is valid once the writes before it have been accepted.
    errors : Out(ErrorPulses(REQUEST_ERRORS))
        Errors in requests.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(stream.Signature(RequestBeat(geometry))),
                "writes": Out(stream.Signature(write_layout(geometry))),
                "reads": Out(stream.Signature(ReadRequest(geometry))),
                "errors": Out(ErrorPulses(REQUEST_ERRORS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beat = self.i.p
        accepted = Signal()
        served = Signal()
        flush = Signal()
        m.d.comb += [
            accepted.eq(self.i.valid & self.i.ready),
            served.eq(
                beat.memory
                & (beat.target != Target.NONE)
                & ~beat.other_function
                & ~beat.crosses[BLOCK_BITS.index(PAGE_BIT)]
            ),
            # For writes, whether `writes` is ready, not whether its register is empty: `ready` is
            # registered and seldom low.
            self.i.ready.eq(
                ~flush
                & Mux(
                    beat.needs_completion, self.reads.ready & ~self.writes.valid, self.writes.ready
                )
            ),
        ]
        with m.If(accepted):
            m.d.comb += [
                self.errors.unsupported_posted.eq(
                    beat.sop & beat.posted & ~served & ~beat.completion
                ),
                self.errors.unsupported_non_posted.eq(beat.needs_completion & ~served),
                self.errors.poisoned.eq(beat.sop & beat.write & beat.poisoned),
            ]
        offset_dwords = self._bar_offset(m)
        self._write(m, accepted, served, flush, offset_dwords)
        self._read(m, served, flush, offset_dwords)
        return m

    def _bar_offset(self, m):
        """Offset of the request in its BAR, in dwords: BARs are aligned to their size."""
        g, beat = self._geometry, self.i.p
        offset = Signal(g.dword_address_bits)
        with m.Switch(beat.target):
            for name, bar in (
                (Target.REGISTERS, g.shell.register_bar),
                (Target.FIFOS, g.shell.fifo_bar),
                (Target.MSIX, g.shell.msix_bar),
            ):
                with m.Case(name):
                    bits = (g.bar_sizes[bar] // 4 - 1).bit_length()
                    m.d.comb += offset.eq(beat.address[:bits])
            with m.Default():
                # Only for the lower address of an error completion.
                m.d.comb += offset.eq(beat.address[:5])
        return offset

    def _write(self, m, accepted, served, flush, offset_dwords):
        """Rotate each beat to its lanes; hold the lanes that spill for the next word."""
        g, beat = self._geometry, self.i.p
        writing = Signal()
        active = Signal()
        m.d.comb += active.eq(Mux(beat.sop, beat.write & served & ~beat.poisoned, writing))

        offset = Signal(range(g.lanes))
        word = Signal(g.word_address_bits)
        target = Signal(Target)
        held_data = Signal(g.data_width)
        held_mask = Signal(g.word_bytes)
        now_offset = Signal.like(offset)
        now_word = Signal.like(word)
        now_target = Signal.like(target)
        with m.If(beat.sop):
            m.d.comb += [
                now_offset.eq(beat.address[: g.lane_bits]),
                now_word.eq(offset_dwords[g.lane_bits :]),
                now_target.eq(beat.target),
            ]
        with m.Else():
            m.d.comb += [now_offset.eq(offset), now_word.eq(word), now_target.eq(target)]

        rotated_data = Signal(g.data_width)
        rotated_mask = Signal(g.word_bytes)
        # Bytes of lanes that lie in this word; those of the other lanes spill into the next one.
        current = Signal(g.word_bytes)
        spill = Signal(g.word_bytes)
        m.d.comb += [
            rotated_data.eq(rotate_left_lanes(beat.data, now_offset, 32, g.lanes)),
            rotated_mask.eq(rotate_left_lanes(beat.enables, now_offset, 4, g.lanes)),
            spill.eq(rotated_mask & ~current),
        ]
        for lane in range(g.lanes):
            in_word = (now_offset <= lane) if lane < g.lanes - 1 else Const(1)
            m.d.comb += current.word_select(lane, 4).eq(in_word.replicate(4))

        out = self.writes.p
        with m.If(self.writes.ready):
            m.d.sync += self.writes.valid.eq(flush | (accepted & active))
            with m.If(flush):
                m.d.sync += [
                    out.target.eq(target),
                    out.to_device_queue.eq(self._to_device_queue(target, word)),
                    out.to_indices.eq(self._to_indices(target, word, held_mask[:4])),
                    out.address.eq(word),
                    out.data.eq(held_data),
                    out.mask.eq(held_mask),
                    flush.eq(0),
                ]
            with m.Else():
                held = Mux(beat.sop, 0, held_mask)
                lane0_mask = Mux(current[0], beat.enables, held)[:4]
                m.d.sync += [
                    out.target.eq(now_target),
                    out.to_device_queue.eq(
                        accepted & active & self._to_device_queue(now_target, now_word)
                    ),
                    out.to_indices.eq(self._to_indices(now_target, now_word, lane0_mask)),
                    out.address.eq(now_word),
                    out.mask.eq((rotated_mask & current) | (held & ~current)),
                ]
                for lane in range(g.lanes):
                    m.d.sync += out.data.word_select(lane, 32).eq(
                        Mux(
                            current[4 * lane],
                            rotated_data.word_select(lane, 32),
                            held_data.word_select(lane, 32),
                        )
                    )
        with m.If(accepted):
            m.d.sync += [
                flush.eq(active & beat.eop & spill.any()),
                writing.eq(active & ~beat.eop),
                target.eq(now_target),
                offset.eq(now_offset),
                word.eq(now_word + 1),
                held_data.eq(rotated_data),
                held_mask.eq(spill),
            ]

    def _to_device_queue(self, target, word):
        return (target == Target.FIFOS) & self._geometry.in_device_bank(word)

    def _to_indices(self, target, word, lane0_mask):
        return (target == Target.FIFOS) & self._geometry.may_be_index(word) & lane0_mask.any()

    def _read(self, m, served, flush, offset_dwords):
        beat, request = self.i.p, self.reads.p
        m.d.comb += [
            self.reads.valid.eq(self.i.valid & beat.needs_completion & ~self.writes.valid & ~flush),
            request.target.eq(beat.target),
            request.status.eq(
                Mux(
                    served,
                    CompletionStatus.SUCCESS.value,
                    CompletionStatus.UNSUPPORTED_REQUEST.value,
                )
            ),
            request.address.eq(offset_dwords),
            # The low bits are the same for all BARs: take them from before the multiplexer, whose
            # output is late.
            request.address[:10].eq(beat.address[:10]),
            *(
                getattr(request, name).eq(getattr(beat, name))
                for name in (
                    "length_m1",
                    "crosses",
                    "first_be",
                    "last_be",
                    "requester_id",
                    "tag",
                    "tc",
                    "attr",
                    "ido",
                    "locked",
                )
            ),
        ]
