# SPDX-License-Identifier: BSD-2-Clause
"""Requests to the host: where they may reach, how long they may be, whose answers they take."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal, Value
from amaranth.lib import data

from hdl.dma.completions import CompletionInfo, CompletionReceiver
from hdl.dma.limits import REQUEST_BYTES, TAGS
from hdl.dma.read_issue import ReadIssuer, ReadPiece
from hdl.dma.write_sender import WriteSender
from hdl.tlp import CompletionHeader, RequestHeader, TlpFormat, TlpType

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof
from .write_path import IN_BLOCK, WritePath

__all__ = ["PROOFS"]


def block_size(h: Harness, name: str) -> tuple[Value, Value]:
    """A size that Device Control allows, and the block that a request stays within: as large, but
    no larger than our own limit."""
    code = h.constant(3, name)
    block = Mux(code == 0, 128, Mux(code == 1, 256, REQUEST_BYTES))
    return code, block


def ensure_request(
    h: Harness, when: Value, header: data.View, block: Value, *, write: bool
) -> None:
    """A memory request stays within an aligned block, hence within 4 KiB, and no longer than it;
    its byte enables and its form are such as section 2.2 of PCI Express Base 4.0 allows."""
    word0 = header.word0
    length = Cat(word0.length, word0.length == 0)
    start = header.low_address[:IN_BLOCK] & (block - 1)
    short, long = (
        (TlpFormat.DATA_3DW, TlpFormat.DATA_4DW)
        if write
        else (TlpFormat.HEADER_3DW, TlpFormat.HEADER_4DW)
    )
    for right in (
        word0.type == TlpType.MEMORY,
        (word0.fmt == short) | ((word0.fmt == long) & header.dword2.any()),
        header.low_address[:2] == 0,
        start + (length << 2) <= block,
        header.first_be.any(),
        (length == 1) == ~header.last_be.any(),
    ):
        h.ensure(~when | right)


def reads_stay_in_block(h: Harness) -> None:
    issuer = ReadIssuer(geometry(128, 1))
    part = h.add("issuer", issuer, driven=("max_read_request_size",))
    code, block = block_size(h, "code")
    h.m.d.comb += issuer.max_read_request_size.eq(code)
    header = RequestHeader(issuer.o.p.hdr)
    ensure_request(h, issuer.o.valid, header, block, write=False)
    h.ensure(~issuer.o.valid | (issuer.o.p.sop & issuer.o.p.eop))
    length = header.word0.length
    h.cover(issuer.o.valid & (length << 2 == block) & (block == REQUEST_BYTES))
    h.cover(issuer.o.valid & (length == 1) & (header.first_be == 0b0110))

    # For the induction: the burst that is cut, and the piece that has been.
    begun = h.register(1, "begun")
    h.ensure(~begun | (part.inside("mask") == block - 1))
    active, served = part.inside("active"), part.inside("served")
    h.ensure(~(active & served) | (part.inside("start") <= part.inside("final")))
    cut = data.View(ReadPiece, part.inside("cut"))
    offset = cut.address[:IN_BLOCK]
    sound = part.inside("cut_valid") & ~cut.void
    h.ensure(~sound | (cut.final >= offset))
    h.ensure(~sound | (((cut.final ^ offset) & ~(block - 1)[:IN_BLOCK]) == 0))
    h.ensure(begun | ~(active | part.inside("cut_valid") | part.inside("waiting")))


def completions_match(h: Harness) -> None:
    """Any completions, good and bad, and any tags outstanding."""
    g = geometry(128, 1)
    receiver = CompletionReceiver(g)
    part = h.add("receiver", receiver, driven=("requester_id",))
    requester_id = h.constant(16, "requester_id")
    h.m.d.comb += receiver.requester_id.eq(requester_id)
    beat = receiver.i.p
    begins = receiver.i.valid & beat.sop
    hdr = Signal(128, name="header_now")
    h.m.d.comb += hdr.eq(Mux(begins, beat.hdr, h.kept(beat.hdr, begins, "header_before")))

    def ours(hdr: Value) -> Value:
        header = CompletionHeader(hdr)
        word0 = header.word0
        return (
            (header.tag < TAGS)
            & ~word0.t8
            & ~word0.t9
            & (header.requester_id == requester_id)
            & (word0.type == TlpType.COMPLETION)
            & (word0.fmt[2] == 0)
        )

    # Four cycles from a beat to its effect; a tag is looked up two cycles before.
    came: list[Value] = [receiver.i.valid]
    headers: list[Value] = [hdr]
    for stage in range(4):
        came.append(h.register(came[-1], f"came_{stage}"))
        headers.append(h.register(headers[-1], f"header_{stage}"))
    tag = CompletionHeader(headers[4]).tag[: len(receiver.tag)]
    once = h.register(receiver.outstanding, "outstanding_before")
    earlier = h.register(once, "outstanding_earlier")
    was_open = earlier.bit_select(tag, 1)
    ended_before = h.register(receiver.ended, "ended_before")
    same_before = h.register(receiver.tag, "tag_before") == tag
    writes = receiver.write_enable.any()
    counts = receiver.ended | receiver.failed | writes
    h.ensure(~counts | (came[4] & ours(headers[4]) & (receiver.tag == tag)))
    h.ensure(~counts | (was_open & ~(ended_before & same_before)))
    for lane in range(g.lanes):
        owner = receiver.write_address[lane][-len(tag) :]
        h.ensure(~receiver.write_enable[lane] | (owner == tag))
    h.ensure(receiver.i.ready)
    h.cover(receiver.ended & ~receiver.failed & writes & h.register(writes, "wrote"))
    h.cover(receiver.unexpected & receiver.outstanding.any())

    # For the induction: what its stages hold.
    claim = data.View(CompletionInfo, part.inside("claim"))
    kept = data.View(beat.shape(), part.inside("beat")).hdr
    sop, judged = part.inside("sop"), part.inside("judged")
    h.ensure(part.inside("arrives") == came[1])
    h.ensure(part.inside("valid") == came[2])
    h.ensure(judged == came[3])
    h.ensure(kept == headers[2])
    h.ensure(claim.ours == ours(headers[3]))
    h.ensure(~claim.ours | (claim.tag == CompletionHeader(headers[3]).tag[: len(tag)]))
    h.ensure(~part.inside("taking") | (judged & sop) | claim.ours)
    arrived = data.View(beat.shape(), part.inside("came"))
    h.ensure(~(came[1] & arrived.sop) | (arrived.hdr == headers[1]))
    h.ensure(headers[1] == Mux(came[1] & arrived.sop, arrived.hdr, headers[2]))


def writes_stay_in_block(h: Harness) -> None:
    """The words of a burst come one after the other, under any strobes."""
    g = geometry(64, 1)
    code, block = block_size(h, "code")
    path = WritePath.of(h, g, code)
    segmenter = path.segmenter
    segment = segmenter.segments.p
    whole = segmenter.segments.valid & ~segment.empty
    dwords = block >> 2
    start = segment.address[2:IN_BLOCK] & (dwords - 1)
    h.ensure(~whole | (start + segment.more < dwords))
    h.cover(whole & (segment.more == 9) & (block == 128))
    h.cover(whole & (segment.more == 0) & ~segment.ends)
    path.ensure_pieces_follow(h, g, block)


def writes_are_as_long_as_told(h: Harness) -> None:
    """Before the registers behind which they leave."""
    g = geometry(128, 1)
    lanes = g.lanes
    sender = WriteSender(g)
    part = h.add("sender", sender)
    h.assume_held(sender.segments, "segments")
    h.assume_held(sender.beats, "beats")
    valid, ready = part.inside("i__valid"), part.inside("stage", "i__ready")
    beat = data.StructLayout({"tlp": sender.o.p.shape(), "closes": 1})
    out = data.View(beat, part.inside("i__payload")).tlp
    header = RequestHeader(out.hdr)
    leaves = valid & ready
    under_way = h.kept(~out.eop, leaves, "under_way")
    to_come = h.signal(11, "to_come")
    rest = Mux(under_way, to_come, header.word0.length)
    h.m.d.sync += to_come.eq(Mux(leaves, rest - lanes, to_come))
    h.ensure(~valid | (out.sop == ~under_way))
    h.ensure(~valid | (out.eop == (rest <= lanes)))
    for lane in range(lanes):
        h.ensure(~valid | (out.strb[lane] == (rest > lane)))
    allowed = sender.bus_master_enable & ~sender.void
    may_start = sender.segments.valid & ~sender.segments.p.empty & allowed
    sending, discarding = part.inside("sending"), part.inside("discarding")
    begun = sending & part.inside("handled")
    h.ensure(~begun | h.register(may_start, "might_start"))
    asked = sender.segments.p.more + 1
    h.ensure(~begun | (header.word0.length == h.register(asked, "asked")))
    h.cover(leaves & out.eop & (header.word0.length == 6))

    # For the induction: how many beats are left.
    h.ensure(~(sending & discarding))
    h.ensure(~under_way | sending)
    h.ensure(~sending | (out.sop == ~under_way))
    h.ensure(~sending | (rest != 0))
    more = (rest - 1)[:11]
    h.ensure(~sending | (part.inside("beats_left") == more[g.lane_bits :]))
    h.ensure(~sending | (part.inside("final") == (more[g.lane_bits :] == 0)))
    for lane in range(lanes):
        h.ensure(~sending | (part.inside("strb")[lane] == (more[: g.lane_bits] >= lane)))


SOURCE = "PCI Express Base 4.0 sections 2.2.2, 2.2.5, 2.2.7"

PROOFS = (
    Proof(
        property="reads-stay-in-block",
        statement="of any bursts, with any configuration that stays: a memory read stays within an "
        "aligned block of 512 bytes and of what Max_Read_Request_Size allows, hence within 4 KiB, "
        "with byte enables and a form that are allowed; 128 bits",
        source=SOURCE,
        module="hdl.dma.read_issue",
        harness=reads_stay_in_block,
        depth=2,
        mutant=Mutant(
            module="hdl.dma.read_issue",
            before="cut.final.eq(Mux(served, Mux(last, final, block_end)[:block_bits], length))",
            after="cut.final.eq(Mux(served, final[:block_bits], length))",
        ),
    ),
    Proof(
        property="completions-match",
        statement="of any completions: one counts, and its data is stored, for its own tag alone, "
        "only with our requester id, only while the tag is outstanding and once; 128 bits, 32 tags",
        source="PCI Express Base 4.0 sections 2.2.9, 2.3.2",
        module="hdl.dma.completions",
        harness=completions_match,
        depth=2,
        mutant=Mutant(
            module="hdl.dma.completions",
            before="& (header.requester_id[compared] == self.requester_id[compared])",
            after="",
        ),
    ),
    Proof(
        property="writes-stay-in-block",
        statement="of any words of bursts, under any strobes, whatever Max_Payload_Size allows: a "
        "memory write stays within an aligned block of as much, or of 512 bytes, hence within "
        "4 KiB; 64 bits",
        source=SOURCE,
        module="hdl.dma.write_pieces",
        harness=writes_stay_in_block,
        depth=3,
        mutant=Mutant(
            module="hdl.dma.write_pieces",
            before="& ~at_limit & ~last_word",
            after="& ~last_word",
            depth=24,
        ),
        cover_depth=24,
    ),
    Proof(
        property="writes-are-as-long-as-told",
        statement="of any segments: each memory write has as many dwords as its length says, with "
        "its first and last beat marked, and begins only while the host allows it; 128 bits",
        source=SOURCE,
        module="hdl.dma.write_sender",
        harness=writes_are_as_long_as_told,
        depth=2,
        mutant=Mutant(
            module="hdl.dma.write_sender",
            before="final.eq(beats_left == 1)",
            after="final.eq(beats_left <= 2)",
        ),
    ),
)
