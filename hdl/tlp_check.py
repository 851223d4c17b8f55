# SPDX-License-Identifier: BSD-2-Clause
"""Malformed TLPs, which a hard block would keep from us.

PCI Express Base 4.0: what Fmt and Type may be, section 2.2.1; that the payload is as long as Length
says and no longer than Max_Payload_Size, 2.2.2; prefixes that nobody agreed upon, 2.2.10; what is
to be done with all of them, 2.3.
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
"""Fmt and Type of every TLP that there is (table 2-3); prefixes are not for us."""


class TlpCheck(wiring.Component):
    """Judges TLPs as their beats come, without holding them up.

    A TLP that its first beat shows to be malformed is to be discarded whole. One whose payload ends
    too early or too late only after that is told all the same, when it does.

    A TLP digest is the link's to check and to take off. Where one comes along as one dword more,
    the length of a TLP that says so is not judged.

    Attributes
    ----------
    beat : In
        Payload of a :func:`~hdl.tlp.raw_signature` stream.
    taken : In(1)
        The beat moves on this cycle's edge.
    max_payload_size : In(3)
        Encoding of the Device Control register; it counts two cycles after.
    discard : Out(1)
        With ``sop``: what begins is malformed, or a Message that means nothing to us.
    malformed : Out(1)
        One-cycle pulse: a TLP is malformed. Three cycles after the first beat that shows it; that a
        TLP has lost its end, the next one shows.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = geometry
        super().__init__(
            {
                "beat": In(raw_signature(geometry.data_width).members["payload"].shape),
                "taken": In(1),
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

        # A TLP is under way, and what it has still to bring.
        open_ = Signal()
        left = Signal(11)

        # Of a first beat, from the header alone: what is told of it decides where the TLP goes.
        length = Signal(11)
        fits = Signal()
        m.d.comb += [
            length.eq(Cat(word0.length, word0.length == 0)),
            fits.eq(length <= lanes),
        ]
        ragged_start = beat.strb != Mux(
            fits, payload_lanes(length[: lanes.bit_length()], lanes), (1 << lanes) - 1
        )
        wrong_start = Mux(word0.has_payload, (beat.eop != fits) | ragged_start, ~beat.eop)
        # The largest payload is a power of two: a length beyond it has a bit above, or that bit
        # and another one.
        limit = Signal(11)
        below = Signal(11)
        m.d.sync += [limit.eq(coded_dwords(self.max_payload_size)), below.eq(limit - 1)]
        too_long = word0.has_payload & (
            (length & ~(limit | below)).any() | ((length & limit).any() & (length & below).any())
        )
        bad_start = Signal()
        m.d.comb += [
            bad_start.eq(~defined | (~word0.td & wrong_start) | too_long),
            self.discard.eq(bad_start | ignored),
        ]

        # The rest is judged a cycle after.
        taken = Signal()
        sop = Signal()
        eop = Signal()
        strb = Signal(lanes)
        count = Signal(11)
        was_bad = Signal()
        digest = Signal()
        m.d.sync += [
            taken.eq(self.taken),
            sop.eq(beat.sop),
            eop.eq(beat.eop),
            strb.eq(beat.strb),
            count.eq(Mux(word0.has_payload, length, 0)),
            was_bad.eq(bad_start),
            digest.eq(word0.td),
        ]
        ends = left <= lanes
        # A TLP without payload has no strb that counts.
        ragged = (left != 0) & (strb != payload_lanes(left, lanes))
        wrong_length = (eop != ends) | ragged
        now_left = Mux(sop, count, left)
        with m.If(taken):
            m.d.sync += [
                open_.eq((sop | open_) & ~eop),
                left.eq(now_left - lanes),
            ]

        # Another cycle after, what was found is told, once of each TLP.
        began = Signal()
        wrong = Signal()
        settled = Signal()
        judged = Signal()
        m.d.sync += [
            began.eq(taken & sop),
            wrong.eq(taken & Mux(sop, was_bad | open_, open_ & wrong_length)),
            settled.eq(was_bad | digest),
            self.malformed.eq(wrong & (began | ~judged)),
        ]
        with m.If(began):
            m.d.sync += judged.eq(settled)
        with m.Elif(wrong):
            m.d.sync += judged.eq(1)
        return m
