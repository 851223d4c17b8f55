# SPDX-License-Identifier: BSD-2-Clause
"""Request ingress: memory requests in; word writes and read requests out, in their order.

Rules of PCI Express Base 4.0: byte enables, section 2.2.5; 4 KiB crossing, 2.2.7; unsupported
requests, 2.3.1; poisoned writes, 2.7.2. A payload that is shorter or longer than its header says is
taken as far as both agree.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .lanes import rotate_left_lanes
from .requests import BLOCK_BITS, PAGE_BIT, ReadRequest, Target, crosses, write_layout
from .tlp import CompletionStatus, RequestHeader, TlpType, request_signature

__all__ = ["RequestIngress"]


class RequestBeat(data.StructLayout):
    """A beat of a request, its header taken apart.

    Of every beat: ``sop``, ``eop``, ``data`` and which bytes of it are written (``enables``). Of a
    first beat besides: what it is (``memory``, ``locked``, ``write``, ``posted``, ``completion``);
    ``needs_completion``, it is non-posted; ``poisoned``; ``other_function``, it is for another function;
    ``target``; ``address``, ``length_m1``, ``crosses``, ``first_be`` and ``last_be`` as in
    :class:`~hdl.requests.ReadRequest`; and what a completion repeats.
    """

    def __init__(self, geometry: Geometry):
        super().__init__(
            {
                "sop": 1,
                "eop": 1,
                "data": geometry.data_width,
                "enables": geometry.word_bytes,
                "memory": 1,
                "locked": 1,
                "write": 1,
                "posted": 1,
                "needs_completion": 1,
                "completion": 1,
                "poisoned": 1,
                "other_function": 1,
                "crosses": len(BLOCK_BITS),
                "target": Target,
                "address": max(10, geometry.dword_address_bits),
                "length_m1": 10,
                "first_be": 4,
                "last_be": 4,
                "requester_id": 16,
                "tag": 8,
                "tc": 3,
                "attr": 2,
                "ido": 1,
            }
        )


class RequestIngress(wiring.Component):
    """Takes request TLPs, a beat a cycle; a register stage, and a second one for writes.

    A write whose payload is not aligned to words takes one cycle more when its last dwords spill
    into a further word.

    Attributes
    ----------
    i : In(request_signature(data_width))
        Requests. ``bar_id`` says which BAR matched; one that is not the shell's means none.
    discard : In(1)
        Beside a first beat: nothing is to come of it. No further beats of that TLP follow.
    writes : Out(stream of write_layout)
        Word writes.
    reads : Out(stream of ReadRequest)
        Non-posted requests. A read is valid once the writes before it have been accepted.
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
                "discard": In(1),
                "writes": Out(stream.Signature(write_layout(geometry))),
                "reads": Out(stream.Signature(ReadRequest(geometry))),
                "unsupported_posted": Out(1),
                "unsupported_non_posted": Out(1),
                "poisoned": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        arrival = Signal(RequestBeat(self._geometry))
        valid = Signal()
        leaves = Signal()
        m.d.comb += self.i.ready.eq(~valid | leaves)
        with m.If(self.i.ready):
            m.d.sync += valid.eq(self.i.valid & ~self.discard)
        self._decode(m, arrival, self.i.valid & self.i.ready)
        self._execute(m, arrival, valid, leaves)
        return m

    def _decode(self, m, arrival, taken):
        """The first stage: what a beat is and which of its bytes are written."""
        g = self._geometry
        beat = self.i.p
        header = RequestHeader(beat.hdr)
        word0 = header.word0

        is_prefix = word0.is_prefix
        is_memory = (word0.type == TlpType.MEMORY) & ~is_prefix
        is_cas = word0.type == TlpType.COMPARE_AND_SWAP
        is_atomic = (word0.type == TlpType.FETCH_ADD) | (word0.type == TlpType.SWAP) | is_cas
        is_write = is_memory & word0.has_payload
        # Byte count of what is no memory request is 4, an AtomicOp's its operand size; the lower
        # address is 0 (section 2.2.9). Of a CAS, half of the payload is what it compares with.
        plain = is_memory | (word0.type == TlpType.MEMORY_LOCKED)
        operand = Mux(is_cas, word0.length >> 1, word0.length)
        posted = is_write | word0.is_message | word0.is_completion | is_prefix
        target = Signal(Target)
        m.d.comb += target.eq(Target.NONE)
        with m.Switch(beat.bar_id):
            for bar, name in (
                (g.shell.register_bar, Target.REGISTERS),
                (g.shell.fifo_bar, Target.FIFOS),
                (g.shell.msix_bar, Target.MSIX),
            ):
                with m.Case(bar):
                    m.d.comb += target.eq(name)

        remaining = Signal(11)
        last_be = Signal(4)
        now_remaining = Signal.like(remaining)
        now_last_be = Signal.like(last_be)
        with m.If(beat.sop):
            m.d.comb += [
                now_remaining.eq(Cat(word0.length, word0.length == 0)),
                now_last_be.eq(header.last_be),
            ]
        with m.Else():
            m.d.comb += [now_remaining.eq(remaining), now_last_be.eq(last_be)]
        enables = Signal(g.word_bytes)
        for lane in range(g.lanes):
            full = Mux(now_remaining == lane + 1, now_last_be, 0xF)
            if lane == 0:
                full = Mux(beat.sop, header.first_be, full)
            present = (now_remaining > lane) & beat.strb[lane]
            m.d.comb += enables[4 * lane : 4 * lane + 4].eq(Mux(present, full, 0))

        with m.If(taken):
            m.d.sync += [
                remaining.eq(Mux(now_remaining > g.lanes, now_remaining - g.lanes, 0)),
                last_be.eq(now_last_be),
            ]
        with m.If(self.i.ready):
            m.d.sync += [
                arrival.sop.eq(beat.sop),
                arrival.eop.eq(beat.eop),
                arrival.data.eq(beat.data),
                arrival.enables.eq(enables),
                arrival.memory.eq(is_memory),
                arrival.locked.eq(word0.type == TlpType.MEMORY_LOCKED),
                arrival.write.eq(is_write),
                arrival.posted.eq(posted),
                arrival.needs_completion.eq(beat.sop & ~posted),
                arrival.completion.eq(word0.is_completion),
                arrival.poisoned.eq(word0.ep),
                arrival.other_function.eq(beat.func_num != 0),
                # They matter of memory requests only.
                arrival.crosses.eq(crosses(header.low_address[2:12], (word0.length - 1)[:10])),
                arrival.target.eq(target),
                arrival.address.eq(Mux(plain, header.low_address[2:], 0)),
                arrival.length_m1.eq(Mux(plain | is_atomic, operand, 1) - 1),
                arrival.first_be.eq(Mux(plain, header.first_be, 0xF)),
                arrival.last_be.eq(Mux(plain, header.last_be, 0xF)),
                arrival.requester_id.eq(header.requester_id),
                arrival.tag.eq(header.tag),
                arrival.tc.eq(word0.tc),
                arrival.attr.eq(word0.attr),
                arrival.ido.eq(word0.ido),
            ]

    def _execute(self, m, arrival, valid, leaves):
        """The second stage: payloads moved to their words, and non-posted requests."""
        g = self._geometry
        # BARs are aligned to their size, so the offset within one is the address's low bits.
        offset_dwords = Signal(g.dword_address_bits)
        with m.Switch(arrival.target):
            for name, bar in (
                (Target.REGISTERS, g.shell.register_bar),
                (Target.FIFOS, g.shell.fifo_bar),
                (Target.MSIX, g.shell.msix_bar),
            ):
                with m.Case(name):
                    bits = (g.bar_sizes[bar] // 4 - 1).bit_length()
                    m.d.comb += offset_dwords.eq(arrival.address[:bits])
            with m.Default():
                # Only the lower address of an error completion is made of it.
                m.d.comb += offset_dwords.eq(arrival.address[:5])

        served = Signal()
        active = Signal()
        writing = Signal()
        can_load = Signal()
        flush = Signal()
        m.d.comb += [
            served.eq(
                arrival.memory
                & (arrival.target != Target.NONE)
                & ~arrival.other_function
                & ~arrival.crosses[BLOCK_BITS.index(PAGE_BIT)]
            ),
            active.eq(Mux(arrival.sop, arrival.write & served & ~arrival.poisoned, writing)),
            # Not also where nothing is on offer: ready is seldom down, and from a register.
            can_load.eq(self.writes.ready),
            leaves.eq(
                valid
                & ~flush
                & Mux(arrival.needs_completion, self.reads.ready & ~self.writes.valid, can_load)
            ),
        ]

        offset = Signal(range(g.lanes))
        word = Signal(g.word_address_bits)
        target = Signal(Target)
        held_data = Signal(g.data_width)
        held_mask = Signal(g.word_bytes)
        now_offset = Signal.like(offset)
        now_word = Signal.like(word)
        now_target = Signal.like(target)
        with m.If(arrival.sop):
            m.d.comb += [
                now_offset.eq(arrival.address[: g.lane_bits]),
                now_word.eq(offset_dwords[g.lane_bits :]),
                now_target.eq(arrival.target),
            ]
        with m.Else():
            m.d.comb += [now_offset.eq(offset), now_word.eq(word), now_target.eq(target)]

        rotated_data = Signal(g.data_width)
        rotated_mask = Signal(g.word_bytes)
        current = Signal(g.word_bytes)
        m.d.comb += [
            rotated_data.eq(rotate_left_lanes(arrival.data, now_offset, 32, g.lanes)),
            rotated_mask.eq(rotate_left_lanes(arrival.enables, now_offset, 4, g.lanes)),
        ]
        for lane in range(g.lanes):
            here = (now_offset <= lane) if lane < g.lanes - 1 else Const(1)
            m.d.comb += current[4 * lane : 4 * lane + 4].eq(here.replicate(4))
        spill = Signal(g.word_bytes)
        m.d.comb += spill.eq(rotated_mask & ~current)

        def to_device_queue(target, word):
            return (target == Target.FIFOS) & (word[g.bank_bit] == g.device_bank)

        def to_indices(target, word, mask):
            return (target == Target.FIFOS) & g.may_be_index(word) & mask.any()

        out = self.writes.p
        with m.If(can_load):
            m.d.sync += self.writes.valid.eq(flush | (leaves & active))
            with m.If(flush):
                m.d.sync += [
                    out.target.eq(target),
                    out.to_device_queue.eq(to_device_queue(target, word)),
                    out.to_indices.eq(to_indices(target, word, held_mask[:4])),
                    out.address.eq(word),
                    out.data.eq(held_data),
                    out.mask.eq(held_mask),
                    flush.eq(0),
                ]
            with m.Else():
                keep = Mux(arrival.sop, 0, held_mask)
                m.d.sync += [
                    out.target.eq(now_target),
                    out.to_device_queue.eq(leaves & active & to_device_queue(now_target, now_word)),
                    out.to_indices.eq(
                        to_indices(now_target, now_word, Mux(current[0], arrival.enables, keep)[:4])
                    ),
                    out.address.eq(now_word),
                    out.mask.eq((rotated_mask & current) | (keep & ~current)),
                ]
                for lane in range(g.lanes):
                    bits = slice(32 * lane, 32 * lane + 32)
                    m.d.sync += out.data[bits].eq(
                        Mux(current[4 * lane], rotated_data[bits], held_data[bits])
                    )
        with m.If(leaves):
            m.d.sync += [
                flush.eq(active & arrival.eop & spill.any()),
                writing.eq(active & ~arrival.eop),
                target.eq(now_target),
                offset.eq(now_offset),
                word.eq(now_word + 1),
                held_data.eq(rotated_data),
                held_mask.eq(spill),
            ]
            m.d.comb += [
                self.unsupported_posted.eq(
                    arrival.sop & arrival.posted & ~served & ~arrival.completion
                ),
                self.unsupported_non_posted.eq(arrival.needs_completion & ~served),
                self.poisoned.eq(arrival.sop & arrival.write & arrival.poisoned),
            ]

        request = self.reads.p
        m.d.comb += [
            self.reads.valid.eq(valid & arrival.needs_completion & ~self.writes.valid & ~flush),
            request.target.eq(arrival.target),
            request.requester_id.eq(arrival.requester_id),
            request.tag.eq(arrival.tag),
            request.tc.eq(arrival.tc),
            request.attr.eq(arrival.attr),
            request.ido.eq(arrival.ido),
            request.locked.eq(arrival.locked),
            request.status.eq(
                Mux(
                    served,
                    CompletionStatus.SUCCESS.value,
                    CompletionStatus.UNSUPPORTED_REQUEST.value,
                )
            ),
            request.address.eq(offset_dwords),
            # The same of all of them, and there early.
            request.address[:10].eq(arrival.address[:10]),
            request.length_m1.eq(arrival.length_m1),
            request.crosses.eq(arrival.crosses),
            request.first_be.eq(arrival.first_be),
            request.last_be.eq(arrival.last_be),
        ]
