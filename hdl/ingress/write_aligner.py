# SPDX-License-Identifier: BSD-2-Clause
"""Write aligner: moves write payloads to their words, and passes non-posted requests on in order.

Rules of PCI Express Base 4.0: 4 KiB crossing, section 2.2.7; unsupported requests, 2.3.1; poisoned
writes, 2.7.2.
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..errors import REQUEST_ERRORS, ErrorPulses
from ..geometry import Geometry
from ..lanes import rotate_left_lanes
from ..requests import BLOCK_BITS, PAGE_BIT, ReadRequest, Target, write_layout
from ..tlp import CompletionStatus
from .decoder import RequestBeat

__all__ = ["WriteAligner"]


def _beyond(lane: int, offset: int, bits: int) -> int:
    """``offset`` if it is above ``lane``, else a larger one that is."""
    for bit in reversed(range(bits)):
        if offset <= lane:
            offset |= 1 << bit
    return offset


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
                # Only for the lower address of an error completion, which has five bits of it.
                m.d.comb += offset.eq(beat.address)
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
        held_mask = Signal(g.word_bytes)
        now_offset = Signal.like(offset)
        now_word = Signal.like(word)
        now_target = Signal.like(target)
        starts = beat.sop & ~flush
        first_word = offset_dwords[g.lane_bits :]
        with m.If(starts):
            m.d.comb += [
                now_offset.eq(beat.address[: g.lane_bits]),
                now_word.eq(first_word),
                now_target.eq(beat.target),
            ]
        with m.Else():
            m.d.comb += [now_offset.eq(offset), now_word.eq(word), now_target.eq(target)]

        rotated_mask = Signal(g.word_bytes)
        # Bytes of lanes that lie in this word; those of the other lanes spill into the next one. In
        # a flush, none: the word is what has spilt.
        current = Signal(g.word_bytes)
        spill = Signal(g.word_bytes)
        m.d.comb += rotated_mask.eq(rotate_left_lanes(beat.enables, now_offset, 4, g.lanes))
        for lane in range(g.lanes):
            in_word = (now_offset <= lane) if lane < g.lanes - 1 else Const(1)
            m.d.comb += [
                current.word_select(lane, 4).eq((in_word & ~flush).replicate(4)),
                spill.word_select(lane, 4).eq(Mux(in_word, 0, rotated_mask.word_select(lane, 4))),
            ]

        out = self.writes.p
        in_fifos = now_target == Target.FIFOS
        held = Mux(starts, 0, held_mask)
        lane0_mask = Mux(current[0], beat.enables, held)[:4]
        # Selected last: `starts` is late.
        may_be_index = Mux(starts, g.may_be_index(first_word), g.may_be_index(word))
        with m.If(self.writes.ready):
            m.d.sync += [
                self.writes.valid.eq(flush | (accepted & active)),
                flush.eq(0),
                out.target.eq(now_target),
                out.to_driver_queue.eq(in_fifos & g.in_driver_bank(now_word)),
                out.to_device_queue.eq(in_fifos & g.in_device_bank(now_word)),
                out.may_be_index.eq(in_fifos & may_be_index),
                out.lane_0.eq(lane0_mask.any()),
                out.address.eq(now_word),
                out.mask.eq((rotated_mask & current) | (held & ~current)),
            ]
        self._move_data(m, accepted, flush, now_offset)
        with m.If(accepted):
            m.d.sync += [
                flush.eq(active & beat.eop & self._spills(now_offset)),
                writing.eq(active & ~beat.eop),
                target.eq(now_target),
                offset.eq(now_offset),
                word.eq(now_word + 1),
                held_mask.eq(spill),
            ]

    def _spills(self, offset):
        """Whether a byte of the beat lies in the next word: ``spill`` itself is late."""
        lanes = self._geometry.lanes
        return Cat(
            self.i.p.enables.word_select(lane, 4).any() & (offset >= lanes - lane)
            for lane in range(1, lanes)
        ).any()

    def _move_data(self, m, accepted, flush, offset):
        """Move each dword to its lane of this word, or hold it for the next one.

        Of a lane that is not written, the data does not matter. It is what takes the fewest lookup
        tables.
        """
        g = self._geometry
        lanes = [self.i.p.data.word_select(lane, 32) for lane in range(g.lanes)]
        moved = Signal(g.data_width)
        # The last lane never spills.
        held = Signal(g.data_width - 32)
        for lane in range(g.lanes):
            here = moved.word_select(lane, 32)
            if lane == g.lanes - 1:
                m.d.comb += here.eq(Array(reversed(lanes))[offset])
                break
            waits = held.word_select(lane, 32)
            in_word = [lanes[lane - by] if by <= lane else waits for by in range(g.lanes)]
            m.d.comb += here.eq(Mux(flush, waits, Array(in_word)[offset]))
            spills = [lanes[lane - _beyond(lane, by, g.lane_bits)] for by in range(g.lanes)]
            with m.If(accepted):
                m.d.sync += waits.eq(Array(spills)[offset])
        with m.If(self.writes.ready):
            m.d.sync += self.writes.p.data.eq(moved)

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
