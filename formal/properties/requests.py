# SPDX-License-Identifier: BSD-2-Clause
"""Memory requests of the DMA window: bounds, length, and the completions that they accept."""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Signal, Value
from amaranth.lib import data

from hdl.dma.completion_decoder import decoded_beat
from hdl.dma.completions import CompletionReceiver
from hdl.dma.limits import REQUEST_BYTES, TAGS
from hdl.dma.read_issue import ReadIssuer
from hdl.dma.read_split import ReadPiece
from hdl.dma.write_sender import WriteSender
from hdl.tlp import CompletionHeader, RequestHeader, TlpFormat, TlpType

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof
from .write_path import IN_BLOCK, WritePath

__all__ = ["PROOFS"]


def block_size(h: Harness, name: str) -> tuple[Value, Value]:
    """A constant size code of Device Control, and the bytes of the block that a request must not
    leave: that size or our own limit, whichever is smaller."""
    code = h.constant(3, name)
    block = Mux(code == 0, 128, Mux(code == 1, 256, REQUEST_BYTES))
    return code, block


def ensure_request(
    h: Harness, when: Value, header: data.View, block: Value, *, write: bool
) -> None:
    """Ensure that a memory request stays within an aligned block, hence within 4 KiB, and that its
    byte enables and format are valid (PCI Express Base 4.0 section 2.2)."""
    word0 = header.word0
    length = Cat(word0.length, word0.length == 0)
    start = header.low_address[:IN_BLOCK] & (block - 1)
    short, long = (
        (TlpFormat.DATA_3DW, TlpFormat.DATA_4DW)
        if write
        else (TlpFormat.HEADER_3DW, TlpFormat.HEADER_4DW)
    )
    for condition in (
        word0.type == TlpType.MEMORY,
        (word0.fmt == short) | ((word0.fmt == long) & header.dword2.any()),
        header.low_address[:2] == 0,
        start + (length << 2) <= block,
        header.first_be.any(),
        (length == 1) == ~header.last_be.any(),
    ):
        h.ensure(~when | condition)


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

    # Invariants: the rest of the burst, and the piece.
    started = h.register(1, "started")
    mask, burst_valid, served, start, last_addr, piece_valid, request_valid = (
        part.inside("splitter", name)
        for name in (
            "mask",
            "burst_valid",
            "served",
            "start",
            "last_addr",
            "piece_valid",
            "request_valid",
        )
    )
    h.ensure(~started | (mask == block - 1))
    h.ensure(~(burst_valid & served) | (start <= last_addr))
    piece = data.View(ReadPiece, part.inside("splitter", "piece"))
    offset = piece.address[:IN_BLOCK]
    will_be_sent = piece_valid & ~piece.abort
    h.ensure(~will_be_sent | (piece.last_offset >= offset))
    h.ensure(~will_be_sent | (((piece.last_offset ^ offset) & ~(block - 1)[:IN_BLOCK]) == 0))
    h.ensure(started | ~(burst_valid | piece_valid | request_valid))


def completions_match(h: Harness) -> None:
    """Any completions, valid or not, and any outstanding tags."""
    g = geometry(128, 1)
    receiver = CompletionReceiver(g)
    part = h.add("receiver", receiver, driven=("requester_id",))
    requester_id = h.constant(16, "requester_id")
    h.m.d.comb += receiver.requester_id.eq(requester_id)
    beat = receiver.i.p
    begins = receiver.i.valid & beat.sop
    hdr = Signal(128, name="header")
    h.m.d.comb += hdr.eq(Mux(begins, beat.hdr, h.latched(beat.hdr, begins, "kept_header")))

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

    # A beat takes effect after four cycles; its tag is looked up two cycles earlier.
    valid: list[Value] = [receiver.i.valid]
    headers: list[Value] = [hdr]
    for stage in range(4):
        valid.append(h.register(valid[-1], f"valid_{stage}"))
        headers.append(h.register(headers[-1], f"header_{stage}"))
    outcome, write = receiver.outcome, receiver.buffer
    tag = CompletionHeader(headers[4]).tag[: len(outcome.tag)]
    outstanding_q = h.register(receiver.outstanding, "outstanding_q")
    outstanding_q2 = h.register(outstanding_q, "outstanding_q2")
    was_outstanding = outstanding_q2.bit_select(tag, 1)
    ended_q = h.register(outcome.ended, "ended_q")
    same_tag_q = h.register(outcome.tag, "tag_q") == tag
    writes = write.enable.any()
    takes_effect = outcome.ended | outcome.failed | writes
    h.ensure(~takes_effect | (valid[4] & ours(headers[4]) & (outcome.tag == tag)))
    h.ensure(~takes_effect | (was_outstanding & ~(ended_q & same_tag_q)))
    for lane in range(g.lanes):
        h.ensure(~write.enable[lane] | (write.address[lane][-len(tag) :] == tag))
    h.ensure(receiver.i.ready)
    h.cover(outcome.ended & ~outcome.failed & writes & h.register(writes, "writes_q"))
    h.cover(receiver.errors.completion_unexpected & receiver.outstanding.any())

    # Invariants: content of the register stages.
    arrival = data.View(beat.shape(), part.inside("decoder", "arrival"))
    decoded = data.View(decoded_beat(g), part.inside("decoder", "o__payload"))
    decoded_valid = part.inside("decoder", "o__valid")
    info = decoded.info
    h.ensure(part.inside("decoder", "arrival_valid") == valid[1])
    h.ensure(part.inside("decoder", "valid") == valid[2])
    h.ensure(decoded_valid == valid[3])
    h.ensure(data.View(beat.shape(), part.inside("decoder", "beat")).hdr == headers[2])
    h.ensure(info.ours == ours(headers[3]))
    h.ensure(~info.ours | (info.tag == CompletionHeader(headers[3]).tag[: len(tag)]))
    h.ensure(~part.inside("matcher", "accepting_q") | (decoded_valid & decoded.sop) | info.ours)
    h.ensure(~(valid[1] & arrival.sop) | (arrival.hdr == headers[1]))
    h.ensure(headers[1] == Mux(valid[1] & arrival.sop, arrival.hdr, headers[2]))


def writes_stay_in_block(h: Harness) -> None:
    """The words of a burst are consecutive, with any strobes."""
    g = geometry(64, 1)
    code, block = block_size(h, "code")
    path = WritePath.of(h, g, code)
    segmenter = path.segmenter
    segment = segmenter.segments.p
    whole = segmenter.segments.valid & ~segment.empty
    dwords = block >> 2
    start = segment.address[2:IN_BLOCK] & (dwords - 1)
    h.ensure(~whole | (start + segment.length_m1 < dwords))
    h.cover(whole & (segment.length_m1 == 9) & (block == 128))
    h.cover(whole & (segment.length_m1 == 0) & ~segment.ends)
    path.ensure_consecutive_pieces(h, g, block)


def write_lengths_match_headers(h: Harness) -> None:
    """At the input of the skid buffer."""
    g = geometry(128, 1)
    lanes = g.lanes
    sender = WriteSender(g)
    part = h.add("sender", sender)
    h.assume_held(sender.segments, "segments")
    h.assume_held(sender.beats, "beats")
    valid, ready = part.inside("i__valid"), part.inside("stage", "i__ready")
    beat = data.StructLayout({"tlp": sender.o.p.shape(), "ends_burst": 1})
    out = data.View(beat, part.inside("i__payload")).tlp
    header = RequestHeader(out.hdr)
    leaves = valid & ready
    in_progress = h.latched(~out.eop, leaves, "in_progress")
    remaining_q = h.signal(11, "remaining_q")
    remaining = Mux(in_progress, remaining_q, header.word0.length)
    h.m.d.sync += remaining_q.eq(Mux(leaves, remaining - lanes, remaining_q))
    h.ensure(~valid | (out.sop == ~in_progress))
    h.ensure(~valid | (out.eop == (remaining <= lanes)))
    for lane in range(lanes):
        h.ensure(~valid | (out.strb[lane] == (remaining > lane)))
    segment = sender.segments.p
    may_send = sender.bus_master_enable & ~sender.abort
    may_begin = sender.segments.valid & ~segment.empty & may_send
    sending, discarding = part.inside("sending"), part.inside("discarding")
    begun = sending & part.inside("done_q")
    h.ensure(~begun | h.register(may_begin, "may_begin_q"))
    length_q = h.register(segment.length_m1 + 1, "length_q")
    h.ensure(~begun | (header.word0.length == length_q))
    h.cover(leaves & out.eop & (header.word0.length == 6))

    # Invariants: the number of remaining beats.
    h.ensure(~(sending & discarding))
    h.ensure(~in_progress | sending)
    h.ensure(~sending | (out.sop == ~in_progress))
    h.ensure(~sending | (remaining != 0))
    remaining_m1 = (remaining - 1)[:11]
    beats_m1 = remaining_m1[g.lane_bits :]
    h.ensure(~sending | (part.inside("beats_m1") == beats_m1))
    h.ensure(~sending | (part.inside("is_last") == (beats_m1 == 0)))
    for lane in range(lanes):
        h.ensure(~sending | (part.inside("strb")[lane] == (remaining_m1[: g.lane_bits] >= lane)))


SOURCE = "PCI Express Base 4.0 sections 2.2.2, 2.2.5, 2.2.7"

PROOFS = (
    Proof(
        property="reads-stay-in-block",
        statement="for any bursts and any constant settings: a memory read stays within an "
        "aligned block of 512 bytes and of Max_Read_Request_Size, hence within 4 KiB, with valid "
        "byte enables and format; 128 bits",
        source=SOURCE,
        module="hdl.dma.read_issue",
        harness=reads_stay_in_block,
        depth=2,
        mutant=Mutant(
            module="hdl.dma.read_split",
            before="Mux(served, Mux(is_last, last_addr, block_end)[:block_bits], beats_m1)",
            after="Mux(served, last_addr[:block_bits], beats_m1)",
        ),
    ),
    Proof(
        property="completions-match",
        statement="for any completions: a completion takes effect, and its data is stored, only "
        "for its own tag, only with our requester ID, only while the tag is outstanding, and "
        "once; 128 bits, 32 tags",
        source="PCI Express Base 4.0 sections 2.2.9, 2.3.2",
        module="hdl.dma.completions",
        harness=completions_match,
        depth=2,
        mutant=Mutant(
            module="hdl.dma.completion_decoder",
            before="& (header.requester_id[compared] == self.requester_id[compared])",
            after="",
        ),
    ),
    Proof(
        property="writes-stay-in-block",
        statement="for any words of bursts with any strobes, and any constant Max_Payload_Size: a "
        "memory write stays within an aligned block of that size and of 512 bytes, hence within 4 "
        "KiB; 64 bits",
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
        property="write-lengths-match-headers",
        statement="for any segments: each memory write has as many dwords as its header says, its "
        "first and last beat are marked, and it begins only while bus mastering is enabled; 128 "
        "bits",
        source=SOURCE,
        module="hdl.dma.write_sender",
        harness=write_lengths_match_headers,
        depth=2,
        mutant=Mutant(
            module="hdl.dma.write_sender",
            before="is_last.eq(beats_m1 == 1)",
            after="is_last.eq(beats_m1 <= 2)",
        ),
    ),
)
