# SPDX-License-Identifier: BSD-2-Clause
"""How the streams of the core meet those of shims, field by field."""

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import Out

from ..arbiter import PacketArbiter
from ..tlp import payload_lanes
from .inline import HeaderJoiner, HeaderSplitter

__all__ = [
    "axi_stream",
    "connect_device_side",
    "entered",
    "in_order",
    "join",
    "kept_lanes",
    "merge",
    "settings_of",
    "split",
]


def axi_stream(data_width: int, *, keep_bits: int, user_bits: int) -> stream.Signature:
    """AXI4-Stream of a block, without ``tvalid`` and ``tready``, which it has as a stream."""
    return stream.Signature(
        data.StructLayout({"tdata": data_width, "tkeep": keep_bits, "tlast": 1, "tuser": user_bits})
    )


def kept_lanes(joiner: HeaderJoiner) -> Value:
    """A bit for each lane of the beat on offer, set where it has a dword."""
    beat = joiner.o.p
    lanes = len(beat.data) // 32
    return payload_lanes(Mux(beat.lanes == 0, lanes, beat.lanes), lanes)


def in_order(header: Value) -> Value:
    """The dwords of 128 bits the other way round: a header begins with its most significant one."""
    return Cat(*(header.word_select(dword, 32) for dword in reversed(range(4))))


def split(splitter: HeaderSplitter, sink: Any, *, data: Value | None = None) -> list[Any]:
    """Statements that give a stream of the core's what ``splitter`` found: all but the handshake,
    the header and what is beside it. ``data`` goes in place of its data."""
    beat = splitter.o.p
    return [
        sink.p.data.eq(beat.data if data is None else data),
        sink.p.strb.eq(beat.strb),
        sink.p.sop.eq(beat.first),
        sink.p.eop.eq(beat.last),
    ]


def join(
    source: Any, joiner: HeaderJoiner, *, header: Value, data: Value | None = None
) -> list[Any]:
    """Statements that put ``header`` in front of each TLP of a stream of the core's."""
    return [
        joiner.i.valid.eq(source.valid),
        source.ready.eq(joiner.i.ready),
        joiner.i.p.header.eq(header),
        joiner.i.p.data.eq(source.p.data if data is None else data),
        joiner.i.p.strb.eq(source.p.strb),
        joiner.i.p.first.eq(source.p.sop),
        joiner.i.p.last.eq(source.p.eop),
    ]


def merge(m: Module, sources: Iterable[Any], arbiter: PacketArbiter) -> None:
    """Join streams of the core's, some of which are narrower than a whole TLP, to an arbiter."""
    for source, sink in zip(sources, arbiter.i, strict=True):
        m.d.comb += [sink.p[field].eq(source.p[field]) for field in dict(source.p.shape())]
        m.d.comb += [sink.valid.eq(source.valid), source.ready.eq(sink.ready)]


def entered(arbiter: PacketArbiter) -> Value:
    """Whether the beginning of a packet is taken from the core."""
    return Cat(*(offer.valid & offer.ready & offer.p.sop for offer in arbiter.i)).any()


def settings_of(core: Any) -> Value:
    """What packets of the core's are made to."""
    return Cat(
        core.max_payload_size,
        core.max_read_request_size,
        core.bus_master_enable,
        core.msix_enable,
        core.msix_mask,
    )


def connect_device_side(
    m: Module, core: Any, shim: Any, members: Mapping[str, wiring.Member]
) -> None:
    """Join the device side of the core, whose ``members`` these are, to the shim's."""
    for name, member in members.items():
        inner, outer = getattr(core, name), getattr(shim, name)
        if member.is_port:
            m.d.comb += outer.eq(inner)
        elif member.flow == Out:
            wiring.connect(m, inner, wiring.flipped(outer))
        else:
            wiring.connect(m, wiring.flipped(outer), inner)
