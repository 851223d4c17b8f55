# SPDX-License-Identifier: BSD-2-Clause
"""Handshake of every stream: once valid, valid and payload hold until ready.

Proven for the component that drives the stream; others forward it combinationally.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

from amaranth.hdl import Cat, Mux, Value

from hdl.arbiter import PacketArbiter
from hdl.completer import Completer
from hdl.dma.read_issue import ReadIssuer
from hdl.dma.read_return import ReadReturn
from hdl.dma.write import WriteRequester
from hdl.dma.write_pieces import PieceFinder
from hdl.dma.write_words import WriteCollector
from hdl.fifo import SkidBuffer, StreamFifo
from hdl.ingress import RequestIngress
from hdl.msix import MsixController
from hdl.queues.pop import PopEngine
from hdl.tlp import raw_signature

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof

__all__ = ["PROOFS"]

RULE = "the handshake rule of AMBA AXI4-Stream (ARM IHI 0051A section 2.2) and AXI4 (A3.2.1)"


def popped_messages_hold(h: Harness) -> None:
    """Read data of :class:`~hdl.queues.memory.FifoMemory` must hold until the next read."""
    pop = PopEngine(geometry(128, 2))
    h.add("pop", pop)
    reads = h.register(pop.ram.enable, "reads_q")
    h.assume(reads | (pop.ram.data == h.register(pop.ram.data, "read_data_q")))
    h.ensure_held(pop.o, "messages")


def interrupts_hold(width: int) -> Callable[[Harness], None]:
    def fill(h: Harness) -> None:
        msix = MsixController(geometry(width, 2))
        part = h.add("msix", msix)
        h.ensure_held(msix.o, "interrupts")
        h.ensure(~(part.inside("fsm_state") != 0) | ~msix.o.valid)

    return fill


def arbitrated_tlps_hold(h: Harness) -> None:
    arbiter = PacketArbiter(raw_signature(64), count=3, priority=1, parked=1)
    h.add("arbiter", arbiter)
    h.ensure_held(arbiter.o, "tlps")


def buffered_words_hold(depth: int) -> Callable[[Harness], None]:
    def fill(h: Harness) -> None:
        buffer = StreamFifo(8, depth=depth)
        h.add("buffer", buffer)
        h.ensure_held(buffer.o, "words")

    return fill


def skid_buffer_keeps_order(h: Harness) -> None:
    """The skid buffer equals a FIFO model of two entries, and follows the handshake rule."""
    stage = SkidBuffer(8)
    part = h.add("stage", stage)
    accepts, leaves = stage.i.valid & stage.i.ready, stage.o.valid & stage.o.ready
    stored = h.signal(2, "stored")
    oldest, newest = h.signal(8, "oldest"), h.latched(stage.i.p, accepts, "newest")
    h.m.d.sync += stored.eq(stored + accepts - leaves)
    with h.m.If(leaves | (stored == 0)):
        h.m.d.sync += oldest.eq(Mux(stored == 2, newest, stage.i.p))
    h.ensure(stored <= 2)
    h.ensure(stage.o.valid == (stored != 0))
    h.ensure(stage.i.ready == (stored != 2))
    h.ensure(~stage.o.valid | (stage.o.p == oldest))
    first, second, loads_second, reads_second = (
        part.inside(name) for name in ("first", "second", "loads_second", "reads_second")
    )
    h.ensure((loads_second ^ reads_second) == (stored == 1))
    h.ensure((stored == 0) | (Mux(loads_second, first, second) == newest))
    h.ensure_held(stage.o, "words")
    h.cover(leaves & (stored == 2))


def host_requests_hold(h: Harness) -> None:
    ingress = RequestIngress(geometry(128, 2))
    h.add("ingress", ingress)
    h.ensure_held(ingress.writes, "writes")
    h.ensure_held(ingress.reads, "reads")


def completions_hold(h: Harness) -> None:
    completer = Completer(geometry(128, 2))
    part = h.add("completer", completer)
    h.ensure_held(completer.o, "completions")
    # The queue does not overflow: stored beats are not overwritten.
    level, following, oldest, has_item = (
        part.inside("packetizer", "beats", "places", name)
        for name in ("level", "next_place", "oldest_place", "has_item")
    )
    h.ensure(level < 1 << len(oldest))
    h.ensure((following - oldest - level)[: len(oldest)] == 0)
    h.ensure(has_item == (level != 0))


def reads_of_host_memory_hold(h: Harness) -> None:
    issuer = ReadIssuer(geometry(128, 1))
    h.add("issuer", issuer)
    h.ensure_held(issuer.o, "requests")


def read_data_holds(h: Harness) -> None:
    returner = ReadReturn(geometry(128, 1))
    h.add("returner", returner)
    h.ensure_held(returner.r, "data")


def collected_words_hold(h: Harness) -> None:
    collector = WriteCollector(geometry(64, 1))
    part = h.add("collector", collector)
    h.ensure_held(collector.o, "words")
    # A valid word is complete: the next beat starts a new word.
    h.ensure(~collector.o.valid | part.inside("word_empty"))


def pieces_hold(h: Harness) -> None:
    finder = PieceFinder(geometry(64, 1))
    h.add("finder", finder)
    h.assume_held(finder.i, "words")
    # `closes` of a stalled piece may rise when Max_Payload_Size falls; all other fields hold.
    piece = finder.o.p
    other_fields = Cat(Value.cast(piece[name]) for name, _ in piece.shape() if name != "closes")
    stable_fields = SimpleNamespace(valid=finder.o.valid, ready=finder.o.ready, p=other_fields)
    h.ensure_held(stable_fields, "pieces")
    stalled_q = h.register(finder.o.valid & ~finder.o.ready, "stalled_q")
    closes_q, fell_q = h.register(piece.closes, "closes_q"), h.register(finder.fell, "fell_q")
    h.ensure(~stalled_q | (piece.closes == closes_q) | (fell_q & ~closes_q))


def writes_hold(h: Harness) -> None:
    requester = WriteRequester(geometry(64, 1))
    part = h.add("requester", requester)
    h.ensure_held(requester.o, "writes")
    h.ensure_held(requester.b, "responses")
    h.ensure(~(part.inside("sender", "sending") & part.inside("sender", "discarding")))
    for stage in (("words",), ("sender", "stage")):
        full, valid, loads_second, reads_second = (
            part.inside(*stage, name)
            for name in ("full", "o__valid", "loads_second", "reads_second")
        )
        h.ensure(~full | valid)
        h.ensure((loads_second ^ reads_second) == (valid & ~full))


def _proof(
    name: str,
    what: str,
    conditions: str,
    harness: Callable[[Harness], None],
    module: str,
    before: str,
    after: str,
    *,
    mutant_depth: int = 20,
) -> Proof:
    return Proof(
        property=name,
        statement=f"{what} hold until accepted; {conditions}",
        source=RULE,
        module=module,
        harness=harness,
        mutant=Mutant(module=module, before=before, after=after, depth=mutant_depth),
    )


PROOFS = (
    _proof(
        "messages-hold",
        "messages to the device side",
        "any host, two FIFOs, 128 bits",
        popped_messages_hold,
        "hdl.queues.pop",
        "step.eq(can_load & (active | any_ready)",
        "step.eq((active | any_ready)",
    ),
    _proof(
        "interrupts-hold-64",
        "MSI-X writes",
        "two vectors, 64 bits",
        interrupts_hold(64),
        "hdl.msix",
        "due_next & (~self.o.valid | self.o.ready)",
        "due_next",
        mutant_depth=30,
    ),
    _proof(
        "interrupts-hold-128",
        "MSI-X writes",
        "two vectors, 128 bits",
        interrupts_hold(128),
        "hdl.msix",
        "with m.If(self.o.ready):",
        "with m.If(self.o.ready | ~self.control.msix_enable):",
    ),
    _proof(
        "arbitrated-tlps-hold",
        "TLPs of the arbiter",
        "three inputs, one with priority, 64 bits",
        arbitrated_tlps_hold,
        "hdl.arbiter",
        "can_load.eq(~self.o.valid | self.o.ready)",
        "can_load.eq(~self.o.valid | self.o.ready | in_packet)",
    ),
    _proof(
        "fifo-words-hold-4",
        "words of a FIFO in distributed RAM",
        "depth 4",
        buffered_words_hold(4),
        "hdl.fifo",
        "can_load.eq(~self.o.valid | self.o.ready)",
        "can_load.eq(~self.o.valid | self.o.ready | level[-1])",
    ),
    _proof(
        "fifo-words-hold-32",
        "words of a FIFO in block RAM",
        "depth 32",
        buffered_words_hold(32),
        "hdl.fifo",
        "can_load.eq(~self.o.valid | self.o.ready)",
        "can_load.eq(~self.o.valid | self.o.ready | push)",
    ),
    Proof(
        property="skid-buffer-keeps-order",
        statement="words leave a skid buffer in order, each once, and hold until accepted; it "
        "accepts a word unless it stores two",
        source=RULE,
        module="hdl.fifo",
        harness=skid_buffer_keeps_order,
        mutant=Mutant(
            module="hdl.fifo",
            before="loads_second.eq(loads_second ^ push)",
            after="loads_second.eq(loads_second ^ self.i.valid)",
        ),
    ),
    _proof(
        "host-requests-hold",
        "word writes and read requests decoded from TLPs",
        "any TLPs, well formed or malformed, 128 bits",
        host_requests_hold,
        "hdl.ingress.write_aligner",
        "self.i.valid & beat.needs_completion & ~self.writes.valid & ~flush",
        "self.i.valid & beat.needs_completion & ~self.writes.valid & self.writes.ready",
    ),
    _proof(
        "completions-hold",
        "completions",
        "128 bits",
        completions_hold,
        "hdl.completer.packetizer",
        "self.o.p.eop.eq(beat.eop)",
        "self.o.p.eop.eq(beat.eop | self.data[0])",
    ),
    _proof(
        "dma-reads-hold",
        "memory read TLPs",
        "any bursts, tags and configuration, 128 bits",
        reads_of_host_memory_hold,
        "hdl.dma.read_issue",
        "self.tag_free & (aborts | ~self.o.valid)",
        "self.tag_free",
    ),
    _proof(
        "dma-read-data-holds",
        "AXI read data",
        "128 bits",
        read_data_holds,
        "hdl.dma.read_return",
        "can_load = ~self.r.valid | self.r.ready",
        "can_load = ~self.r.valid | self.r.ready | self.reset",
    ),
    _proof(
        "dma-write-words-hold",
        "words of write bursts",
        "64 bits",
        collected_words_hold,
        "hdl.dma.write_words",
        "self.w.ready.eq(burst_valid & (~self.o.valid | self.o.ready))",
        "self.w.ready.eq(burst_valid & (~self.o.valid | self.o.ready | self.reset))",
    ),
    _proof(
        "dma-write-pieces-hold",
        "pieces of written words",
        "64 bits",
        pieces_hold,
        "hdl.dma.write_pieces",
        "advances.eq(valid & (~held | self.o.ready))",
        "advances.eq(valid)",
    ),
    _proof(
        "dma-writes-hold",
        "memory write TLPs and AXI write responses",
        "64 bits",
        writes_hold,
        "hdl.dma.write_sender",
        "source.ready.eq(self.o.ready & has_space)",
        "source.ready.eq((self.o.ready | self.abort) & has_space)",
        mutant_depth=24,
    ),
)
