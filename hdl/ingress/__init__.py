# SPDX-License-Identifier: BSD-2-Clause
"""Request ingress: request TLPs in; word writes and non-posted requests out, in their order.

Rules of PCI Express Base 4.0: byte enables, section 2.2.5; 4 KiB crossing, 2.2.7; unsupported
requests, 2.3.1; poisoned writes, 2.7.2.
"""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..errors import REQUEST_ERRORS, ErrorPulses
from ..geometry import Geometry
from ..requests import ReadRequest, write_layout
from ..tlp import request_signature
from .decoder import RequestBeat, RequestDecoder
from .write_aligner import WriteAligner

__all__ = ["RequestBeat", "RequestDecoder", "RequestIngress", "WriteAligner"]


class RequestIngress(wiring.Component):
    """Accepts one beat per cycle: a decoder stage, then an alignment stage for writes.

    A write whose payload is not aligned to words takes one more cycle when its last dwords spill
    into a further word. A payload that is shorter or longer than the length in its header is used
    as far as both agree.

    Attributes
    ----------
    i : In(request_signature(data_width))
        Requests. ``bar_id`` is the BAR that matched; one that the shell does not have is no match.
    discard : In(1)
        With ``sop``: drop this TLP. None of its further beats follow.
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
                "i": In(request_signature(geometry.data_width)),
                "discard": In(1),
                "writes": Out(stream.Signature(write_layout(geometry))),
                "reads": Out(stream.Signature(ReadRequest(geometry))),
                "errors": Out(ErrorPulses(REQUEST_ERRORS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = RequestDecoder(self._geometry)
        m.submodules.aligner = aligner = WriteAligner(self._geometry)
        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        wiring.connect(m, decoder.o, aligner.i)
        wiring.connect(m, aligner.writes, wiring.flipped(self.writes))
        wiring.connect(m, aligner.reads, wiring.flipped(self.reads))
        wiring.connect(m, aligner.errors, wiring.flipped(self.errors))
        m.d.comb += decoder.discard.eq(self.discard)
        return m
