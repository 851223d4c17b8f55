# SPDX-License-Identifier: BSD-2-Clause
"""Detection of malformed TLPs, which a hard block would drop.

PCI Express Base 4.0: defined values of Fmt and Type, section 2.2.1; payload length against Length
and Max_Payload_Size, 2.2.2; unsupported prefixes, 2.2.10; handling of malformed TLPs, 2.3.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .geometry import Geometry
from .tlp import IGNORED_MESSAGES, RequestHeader, coded_dwords, payload_lanes, raw_signature

__all__ = ["TlpCheck"]

DEFINED = (
    "00-0000-",  # MRd, MRdLk
    "01-00000",  # MWr
    "0-000010",  # IORd, IOWr
    "0-00010-",  # CfgRd, CfgWr
    "0-110---",  # Msg, MsgD
    "0-00101-",  # Cpl, CplD, CplLk, CplDLk
    "01-0110-",  # FetchAdd, Swap
    "01-01110",  # CAS
)
"""Fmt and Type of every defined TLP (table 2-3), without prefixes, which are unsupported."""


class TlpCheck(wiring.Component):
    """Checks TLPs beat by beat without stalling them.

    A TLP whose first beat is malformed must be dropped whole. A payload that ends too early or too
    late after the first beat is only reported.

    The link checks and removes a TLP digest. If it leaves the digest in place, one more dword
    follows, so the length of a TLP with ``td`` is not checked.

    Attributes
    ----------
    beat : In(payload of raw_signature(data_width))
        Beat to check.
    accepted : In(1)
        The beat is accepted in this cycle.
    max_payload_size : In(3)
        Max_Payload_Size, encoded; takes effect two cycles later.
    discard : Out(1)
        With ``sop``: drop this TLP, which is malformed or an ignored Message.
    malformed : Out(1)
        One-cycle pulse: a TLP is malformed. Three cycles after the first beat that shows it; the
        first beat of the next TLP shows a missing ``eop``.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "beat": In(raw_signature(geometry.data_width).members["payload"].shape),
                "accepted": In(1),
                "max_payload_size": In(3),
                "discard": Out(1),
                "malformed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._geometry.lanes
        beat = self.beat
        header = RequestHeader(beat.hdr)
        word0 = header.word0

        message_code = Cat(header.first_be, header.last_be)
        defined = Cat(word0.type, word0.fmt).matches(*DEFINED)
        ignored = word0.is_message & message_code.matches(*IGNORED_MESSAGES)

        # A TLP is in progress, and its remaining dwords.
        in_packet = Signal()
        remaining = Signal(11)

        # First beats are checked in the same cycle, because the result routes the TLP.
        length = Signal(11)
        single_beat = Signal()
        m.d.comb += [
            length.eq(Cat(word0.length, word0.length == 0)),
            single_beat.eq(length <= lanes),
        ]
        bad_first_strb = beat.strb != Mux(
            single_beat, payload_lanes(length[: lanes.bit_length()], lanes), (1 << lanes) - 1
        )
        bad_first_length = Mux(
            word0.has_payload, (beat.eop != single_beat) | bad_first_strb, ~beat.eop
        )
        # The limit is a power of two: a greater length has a higher bit set, or the limit's bit and
        # a lower one.
        limit = Signal(11)
        limit_m1 = Signal(11)
        m.d.sync += [limit.eq(coded_dwords(self.max_payload_size)), limit_m1.eq(limit - 1)]
        too_long = word0.has_payload & (
            (length & ~(limit | limit_m1)).any()
            | ((length & limit).any() & (length & limit_m1).any())
        )
        bad_start = Signal()
        m.d.comb += [
            bad_start.eq(~defined | (~word0.td & bad_first_length) | too_long),
            self.discard.eq(bad_start | ignored),
        ]

        # Later beats are checked one cycle later, to keep these comparisons off the path above.
        accepted_q = Signal()
        sop_q = Signal()
        eop_q = Signal()
        strb_q = Signal(lanes)
        length_q = Signal(11)
        bad_start_q = Signal()
        digest_q = Signal()
        m.d.sync += [
            accepted_q.eq(self.accepted),
            sop_q.eq(beat.sop),
            eop_q.eq(beat.eop),
            strb_q.eq(beat.strb),
            length_q.eq(Mux(word0.has_payload, length, 0)),
            bad_start_q.eq(bad_start),
            digest_q.eq(word0.td),
        ]
        should_end = remaining <= lanes
        # `strb` is undefined in a TLP without payload.
        bad_strb = (remaining != 0) & (strb_q != payload_lanes(remaining, lanes))
        bad_length = (eop_q != should_end) | bad_strb
        remaining_now = Mux(sop_q, length_q, remaining)
        with m.If(accepted_q):
            m.d.sync += [
                in_packet.eq((sop_q | in_packet) & ~eop_q),
                remaining.eq(remaining_now - lanes),
            ]

        # One more cycle later, errors are reported, once per TLP. Later beats of a TLP with a bad
        # first beat or a digest are exempt.
        began_q = Signal()
        error = Signal()
        exempt = Signal()
        reported = Signal()
        m.d.sync += [
            began_q.eq(accepted_q & sop_q),
            error.eq(accepted_q & Mux(sop_q, bad_start_q | in_packet, in_packet & bad_length)),
            exempt.eq(bad_start_q | digest_q),
            self.malformed.eq(error & (began_q | ~reported)),
        ]
        with m.If(began_q):
            m.d.sync += reported.eq(exempt)
        with m.Elif(error):
            m.d.sync += reported.eq(1)
        return m
