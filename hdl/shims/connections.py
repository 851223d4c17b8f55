# SPDX-License-Identifier: BSD-2-Clause
"""Connections between the streams of the core and those of the shims."""

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from ..arbiter import PacketArbiter
from ..tlp import HeaderWord0, payload_lanes
from .inline import HeaderJoiner, HeaderSplitter, lane_count

__all__ = [
    "axi_stream",
    "connect_arbiter",
    "connect_device_side",
    "connect_received",
    "from_splitter",
    "kept_lanes",
    "received_header",
    "reverse_dwords",
    "to_joiner",
]


def axi_stream(data_width: int, *, keep_bits: int, user_bits: int) -> stream.Signature:
    """AXI4-Stream of a hard block; ``tvalid`` and ``tready`` are the handshake of the stream."""
    return stream.Signature(
        data.StructLayout({"tdata": data_width, "tkeep": keep_bits, "tlast": 1, "tuser": user_bits})
    )


def kept_lanes(joiner: HeaderJoiner) -> Value:
    """A bit for each lane of the valid beat, set where the lane holds a dword."""
    beat = joiner.o.p
    return payload_lanes(lane_count(beat), len(beat.data) // 32)


def reverse_dwords(header: Value) -> Value:
    """The four dwords of 128 bits in reverse order: headers begin with the top dword."""
    return Cat(*(header.word_select(dword, 32) for dword in reversed(range(4))))


def from_splitter(splitter: HeaderSplitter, sink: Any, *, data: Value | None = None) -> list[Any]:
    """Statements that drive a stream of the core from ``splitter``, except handshake and header.

    ``data`` replaces the data of the splitter.
    """
    beat = splitter.o.p
    return [
        sink.p.data.eq(beat.data if data is None else data),
        sink.p.strb.eq(beat.strb),
        sink.p.sop.eq(beat.first),
        sink.p.eop.eq(beat.last),
    ]


def to_joiner(
    source: Any, joiner: HeaderJoiner, *, header: Value, data: Value | None = None
) -> list[Any]:
    """Statements that feed ``joiner`` from a stream of the core, with ``header`` for each TLP.

    ``data`` replaces the data of the stream.
    """
    return [
        joiner.i.valid.eq(source.valid),
        source.ready.eq(joiner.i.ready),
        joiner.i.p.header.eq(header),
        joiner.i.p.data.eq(source.p.data if data is None else data),
        joiner.i.p.strb.eq(source.p.strb),
        joiner.i.p.first.eq(source.p.sop),
        joiner.i.p.last.eq(source.p.eop),
    ]


def connect_arbiter(m: Module, sources: Iterable[Any], arbiter: PacketArbiter) -> None:
    """Connect streams of the core to an arbiter; a stream may lack fields of its payload."""
    for source, sink in zip(sources, arbiter.i, strict=True):
        m.d.comb += [sink.p[field].eq(source.p[field]) for field in dict(source.p.shape())]
        m.d.comb += [sink.valid.eq(source.valid), source.ready.eq(sink.ready)]


def received_header(dwords: Value) -> Value:
    """Header in the core's form from the dwords of a splitter; clears a missing fourth dword."""
    header = reverse_dwords(dwords)
    return Cat(Mux(HeaderWord0(header[-32:]).four_dwords, header[:32], 0), header[32:])


def connect_received(
    m: Module, core: Any, source: Any, *, first: Value, word0: HeaderWord0
) -> None:
    """Connect ``source`` to the request and completion streams of the core, handshake only.

    ``word0`` of the ``first`` beat decides between the two. Completions never stall.
    """
    requests, completions = core.rx_req_tlp, core.rx_cpl_tlp
    was_completion = Signal()
    is_completion = Signal()
    m.d.comb += [
        is_completion.eq(Mux(first, word0.is_completion & ~word0.is_prefix, was_completion)),
        requests.valid.eq(source.valid & ~is_completion),
        completions.valid.eq(source.valid & is_completion),
        source.ready.eq(is_completion | requests.ready),
    ]
    with m.If(source.valid):
        m.d.sync += was_completion.eq(is_completion)


def connect_device_side(
    m: Module, core: Any, shim: Any, members: Mapping[str, wiring.Member]
) -> None:
    """Connect the device-side ``members`` of the core to those of the shim."""
    for name, member in members.items():
        core_member, shim_member = getattr(core, name), getattr(shim, name)
        if member.is_port:
            m.d.comb += shim_member.eq(core_member)
        elif member.flow == Out:
            wiring.connect(m, core_member, wiring.flipped(shim_member))
        else:
            wiring.connect(m, wiring.flipped(shim_member), core_member)
