# SPDX-License-Identifier: BSD-2-Clause
"""Request decoder: classifies each request and computes the byte enables of each beat.

Rules of PCI Express Base 4.0: TLP types, table 2-3; byte enables, section 2.2.5.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..geometry import Geometry
from ..requests import BLOCK_BITS, Target, crosses
from ..tlp import RequestHeader, TlpType, request_signature

__all__ = ["RequestBeat", "RequestDecoder"]


class RequestBeat(data.StructLayout):
    """A beat of a request with its header decoded.

    Valid in every beat: ``sop``, ``eop``, ``data``, and ``enables``, the bytes of ``data`` that are
    written. Valid with ``sop``: the type (``memory``, ``locked``, ``write``, ``posted``,
    ``completion``, ``needs_completion``); ``poisoned``; ``other_function``, the request is for
    another function; ``target``; ``address``, ``length_m1``, ``crosses``, ``first_be`` and
    ``last_be`` as in :class:`~hdl.requests.ReadRequest`; and the fields that a completion repeats.
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


class RequestDecoder(wiring.Component):
    """Decodes one beat per cycle into a register.

    Attributes
    ----------
    i : In(request_signature(data_width))
        Requests.
    discard : In(1)
        With ``sop``: drop this TLP. None of its further beats follow.
    o : Out(stream of RequestBeat)
        Decoded beats, one cycle later.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "i": In(request_signature(geometry.data_width)),
                "discard": In(1),
                "o": Out(stream.Signature(RequestBeat(geometry))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i, decoded = self.i.p, self.o.p
        header = RequestHeader(i.hdr)
        word0 = header.word0
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)

        is_memory = (word0.type == TlpType.MEMORY) & ~word0.is_prefix
        is_locked = word0.type == TlpType.MEMORY_LOCKED
        is_cas = word0.type == TlpType.COMPARE_AND_SWAP
        is_atomic = (word0.type == TlpType.FETCH_ADD) | (word0.type == TlpType.SWAP) | is_cas
        is_write = is_memory & word0.has_payload
        is_posted = is_write | word0.is_message | word0.is_completion | word0.is_prefix
        # Section 2.2.9: the completion of a request other than a memory read has lower address 0
        # and byte count 4, or the operand size of an AtomicOp. The payload of a CAS has two.
        has_address = is_memory | is_locked
        length_m1 = (word0.length - 1)[:10]
        operand_m1 = Mux(is_cas, length_m1 >> 1, length_m1)
        enables = self._enables(m, header)
        with m.If(self.i.ready):
            m.d.sync += [
                self.o.valid.eq(self.i.valid & ~self.discard),
                decoded.sop.eq(i.sop),
                decoded.eop.eq(i.eop),
                decoded.data.eq(i.data),
                decoded.enables.eq(enables),
                decoded.memory.eq(is_memory),
                decoded.locked.eq(is_locked),
                decoded.write.eq(is_write),
                decoded.posted.eq(is_posted),
                decoded.needs_completion.eq(i.sop & ~is_posted),
                decoded.completion.eq(word0.is_completion),
                decoded.poisoned.eq(word0.ep),
                decoded.other_function.eq(i.func_num != 0),
                # Used for memory requests only.
                decoded.crosses.eq(crosses(header.low_address[2:12], length_m1)),
                decoded.target.eq(self._target(m)),
                decoded.address.eq(header.low_address[2:]),
                decoded.length_m1.eq(operand_m1),
                decoded.first_be.eq(header.first_be),
                decoded.last_be.eq(header.last_be),
                decoded.requester_id.eq(header.requester_id),
                decoded.tag.eq(header.tag),
                decoded.tc.eq(word0.tc),
                decoded.attr.eq(word0.attr),
                decoded.ido.eq(word0.ido),
            ]
        # Synthesis maps these to the synchronous set or reset of the registers.
        with m.If(self.i.ready & ~has_address):
            m.d.sync += [decoded.first_be.eq(0xF), decoded.last_be.eq(0xF), decoded.address.eq(0)]
        with m.If(self.i.ready & ~(has_address | is_atomic)):
            m.d.sync += decoded.length_m1.eq(0)
        return m

    def _target(self, m):
        """The BAR that matched."""
        shell = self._geometry.shell
        target = Signal(Target)
        m.d.comb += target.eq(Target.NONE)
        with m.Switch(self.i.p.bar_id):
            for bar, name in (
                (shell.register_bar, Target.REGISTERS),
                (shell.fifo_bar, Target.FIFOS),
                (shell.msix_bar, Target.MSIX),
            ):
                with m.Case(bar):
                    m.d.comb += target.eq(name)
        return target

    def _enables(self, m, header):
        """Bytes of the beat that are written: up to the header's length and the beat's ``strb``."""
        g = self._geometry
        beat, word0 = self.i.p, header.word0
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
        accepted = self.i.valid & self.i.ready
        with m.If(accepted):
            m.d.sync += [remaining.eq(now_remaining - g.lanes), last_be.eq(now_last_be)]
        # This, too, becomes a synchronous reset.
        with m.If(accepted & (now_remaining <= g.lanes)):
            m.d.sync += remaining.eq(0)
        enables = Signal(g.word_bytes)
        for lane in range(g.lanes):
            enabled = Mux(now_remaining == lane + 1, now_last_be, 0xF)
            if lane == 0:
                enabled = Mux(beat.sop, header.first_be, enabled)
            present = (now_remaining > lane) & beat.strb[lane]
            m.d.comb += enables.word_select(lane, 4).eq(Mux(present, enabled, 0))
        return enables
