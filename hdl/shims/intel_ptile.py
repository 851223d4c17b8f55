# SPDX-License-Identifier: BSD-2-Clause
"""Endpoint behind the P-Tile Avalon-ST block of Stratix 10 DX and Agilex.

Source: user guide 683059. Headers lie beside the data, first byte in the most significant bits;
payloads begin at lane 0 of their segment, first byte in the least significant bits. The core has
the same format.
"""

from collections.abc import Mapping
from typing import ClassVar

from amaranth.hdl import Mux
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from ..tlp import HeaderWord0, payload_lanes, raw_signature
from .inline import lane_count
from .intel import IntelShim
from .intel_config import PTILE
from .intel_credits import LIMIT_BITS, CreditLimit

__all__ = ["IntelPTile"]

NON_POSTED_HEADERS = 1
"""``tx_cdts_limit_tdm_idx`` of the credits for non-posted headers."""
HEADER_BITS = 128
PREFIX_BITS = 32


class IntelPTile(IntelShim):
    """Endpoint for P-Tile, 128, 256 and 512 bits.

    The parameters are those of :class:`~hdl.shims.intel.IntelShim`. So are the attributes, except
    for these:

    Attributes
    ----------
    reset_status_n : In(1)
        Reset, active low.
    rx_st_hdr : In
        Header of each segment.
    rx_st_tlp_prfx : In
        Ignored: no prefix is enabled.
    rx_st_tlp_abort : In
        Ignored: the block drops packets with errors.
    tx_st_hdr : Out
        Header of each segment.
    tx_st_tlp_prfx : Out
        Constant 0: no prefixes.
    tx_cdts_limit : In(16)
        Credits granted.
    tx_cdts_limit_tdm_idx : In(3)
        Kind of the credits in ``tx_cdts_limit``.
    flr_rcvd_pf : In(8)
        Function-level reset, bit 0 for physical function 0.
    flr_completed_pf : Out(8)
        One-cycle pulse on bit 0: the reset is complete, nothing from before it is inside.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    block = "P-Tile"
    data_widths = (128, 256, 512)
    reset_pin = ("reset_status_n", True)
    configuration = PTILE
    receive_allowance = 27
    # A port of four lanes: 1,444 times 8 bytes, 64 for each completion ("Completion Buffer Size").
    # Wider ports have space for the completions of all outstanding reads.
    completion_headers: ClassVar[Mapping[int, int]] = {128: 180}
    error_bits = 13
    flr_pins = ("flr_rcvd_pf", "flr_completed_pf", 8)
    side = data.StructLayout({"bar": 3, "function": 3, "header": HEADER_BITS})
    sent_sideband: ClassVar[Mapping[str, int]] = {"header": HEADER_BITS}

    def _block_members(self, segments):
        return {
            "rx_st_hdr": In(segments * HEADER_BITS),
            "rx_st_tlp_prfx": In(segments * PREFIX_BITS),
            "rx_st_tlp_abort": In(segments),
            "tx_st_hdr": Out(segments * HEADER_BITS),
            "tx_st_tlp_prfx": Out(segments * PREFIX_BITS),
            "tx_cdts_limit": In(16),
            "tx_cdts_limit_tdm_idx": In(3),
        }

    def _receive(self, m, core):
        """Connect requests and completions; headers are a sideband of the segments."""
        aligned = self._unsegment(m, {"header": self.rx_st_hdr})
        header, beat = aligned.side.header, aligned.o.p
        lanes = self._data_width // 32
        received = raw_signature(self._data_width).create()
        # A packet without payload takes a segment, too: its lanes do not count.
        has_payload = HeaderWord0(header[-32:]).has_payload
        m.d.comb += [
            received.valid.eq(aligned.o.valid),
            aligned.o.ready.eq(received.ready),
            received.p.data.eq(beat.data),
            received.p.strb.eq(payload_lanes(Mux(has_payload, lane_count(beat), 0), lanes)),
            received.p.sop.eq(aligned.first),
            received.p.eop.eq(beat.last),
        ]
        self._connect_received(m, core, received, aligned.side, header)

    def _connect_sender(self, m, source, sink):
        """Connect the merged stream; headers stay beside the data."""
        m.d.comb += [
            sink.valid.eq(source.valid),
            source.ready.eq(sink.ready),
            sink.p.data.eq(source.p.data),
            sink.p.header.eq(source.p.hdr),
            sink.p.upper.eq(source.p.strb[len(source.p.strb) // 2]),
            sink.p.first.eq(source.p.sop),
            sink.p.last.eq(source.p.eop),
        ]

    def _drive_pins(self, m, sent):
        """Drive the header pins."""
        m.d.comb += self.tx_st_hdr[:HEADER_BITS].eq(sent.header)

    def _credits(self, m, departed):
        """Gate reads by the limit of non-posted credits."""
        limit = CreditLimit()
        m.d.comb += [
            limit.limit.eq(self.tx_cdts_limit[:LIMIT_BITS]),
            limit.limit_valid.eq(self.tx_cdts_limit_tdm_idx == NON_POSTED_HEADERS),
        ]
        return limit
