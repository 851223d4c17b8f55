# SPDX-License-Identifier: BSD-2-Clause
"""Endpoint behind the L-Tile and H-Tile Avalon-ST block of Stratix 10.

Source: user guide 683111. Packets begin with their header, whose dwords have their first byte in
the most significant bits. The dwords of the payload follow without a gap, with their first byte in
the least significant bits.
"""

from amaranth.lib import data
from amaranth.lib.wiring import In, connect

from ..tlp import HeaderWord0, raw_signature
from .connections import received_header, reverse_dwords, to_joiner
from .inline import HeaderJoiner, HeaderSplitter, lane_count
from .intel import IntelShim
from .intel_config import STRATIX_10
from .intel_credits import NET_BITS, NetCredits

__all__ = ["IntelStratix10"]

HEADERS = (3, 4)


class IntelStratix10(IntelShim):
    """Endpoint for Stratix 10, 256 and 512 bits.

    The parameters are those of :class:`~hdl.shims.intel.IntelShim`. So are the attributes, except
    for these:

    Attributes
    ----------
    reset_status : In(1)
        Reset.
    tx_nph_cdts : In(8)
        Remaining credits for non-posted headers.
    flr_pf_active : In(1)
        Function-level reset of physical function 0, on H-Tile.
    flr_pf_done : Out(1)
        One-cycle pulse: the reset is complete, nothing from before it is inside.

    Raises
    ------
    ValueError
        A parameter is out of range; the text says what is allowed.
    """

    block = "Stratix 10"
    data_widths = (256, 512)
    reset_pin = ("reset_status", False)
    configuration = STRATIX_10
    receive_allowance = 18
    error_bits = 11
    flr_pins = ("flr_pf_active", "flr_pf_done", 1)
    side = data.StructLayout({"bar": 3, "function": 2})

    def _block_members(self, segments):
        return {"tx_nph_cdts": In(NET_BITS)}

    def _receive(self, m, core):
        """Connect requests and completions; headers are in front of the payloads."""
        aligned = self._unsegment(m, {})
        m.submodules.splitter = splitter = HeaderSplitter(self._data_width, HEADERS)
        connect(m, aligned.o, splitter.i)
        beat = splitter.o.p
        received = raw_signature(self._data_width).create()
        m.d.comb += [
            splitter.is_long.eq(HeaderWord0(aligned.o.p.data[:32]).four_dwords),
            received.valid.eq(splitter.o.valid),
            splitter.o.ready.eq(received.ready),
            received.p.data.eq(beat.data),
            received.p.strb.eq(beat.strb),
            received.p.sop.eq(beat.first),
            received.p.eop.eq(beat.last),
        ]
        self._connect_received(m, core, received, aligned.side, received_header(beat.header))

    def _connect_sender(self, m, source, sink):
        """Connect the merged stream; put headers in front of the payloads."""
        m.submodules.joiner = joiner = HeaderJoiner(self._data_width, HEADERS)
        beat = joiner.o.p
        half = self._data_width // 32 // 2
        m.d.comb += [
            *to_joiner(source, joiner, header=reverse_dwords(source.p.hdr)),
            joiner.is_long.eq(source.p.hdr[-3]),
            sink.valid.eq(joiner.o.valid),
            joiner.o.ready.eq(sink.ready),
            sink.p.data.eq(beat.data),
            sink.p.upper.eq(lane_count(beat) > half),
            sink.p.first.eq(joiner.first),
            sink.p.last.eq(beat.last),
        ]

    def _credits(self, m, departed):
        """Gate reads by the remaining non-posted credits."""
        gate = NetCredits()
        m.d.comb += [gate.net.eq(self.tx_nph_cdts), gate.departed.eq(departed)]
        return gate
