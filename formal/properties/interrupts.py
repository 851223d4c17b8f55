# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X: when an interrupt leaves, and with which address and data."""

from __future__ import annotations

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Mux, Signal, Value

from hdl.geometry import Geometry
from hdl.msix import MsixController
from hdl.tlp import RequestHeader, TlpFormat, TlpType
from models.shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE

from ..geometry import geometry
from ..harness import Harness
from ..proof import Mutant, Proof
from ..ring import Queues, cycles_to_clear

__all__ = ["PROOFS"]


FIFOS = 3


class HostWrite:
    """The host write of the previous cycle, which the controller executes in this cycle."""

    def __init__(self, h: Harness, msix: MsixController):
        self.valid = h.register(msix.host.write.enable, "write_q")
        self.address = h.register(msix.host.write.address, "address_q")
        self.data = h.register(msix.host.write.data, "data_q")
        self.mask = h.register(msix.host.write.mask, "mask_bytes_q")


class Vectors:
    """The controller, with masks and pending bits modelled from its ports.

    Attributes
    ----------
    vector
        Vector whose entry is being fetched, or whose write is valid.
    begins
        First cycle of a valid write.
    allowed
        No condition other than the vector's own mask blocks sending.
    masks
        Mask bit per vector, as the host wrote it.
    expected
        Per vector: an interrupt was raised two or more cycles ago, or refused, and its write has
        not become valid since.
    """

    def __init__(self, h: Harness, g: Geometry):
        self.msix = msix = MsixController(g)
        self.part = part = h.add("msix", msix)
        self.vector = part.inside("vector")
        stalled_q = h.register(msix.o.valid & ~msix.o.ready, "stalled_q")
        self.begins = msix.o.valid & ~stalled_q
        self.allowed = (
            msix.control.msix_enable
            & ~msix.control.msix_mask
            & msix.control.bus_master_enable
            & ~msix.control.reset
        )
        h.ensure(part.inside("allowed_q") == h.register(self.allowed, "allowed_q"))
        # The host waits for `write_ready`.
        h.assume(~(msix.host.write.enable & msix.busy))
        self.masks: list[Signal] = []
        self.expected: list[Signal] = []
        reset_q = h.register(msix.control.reset, "reset_q")
        self.write = write = HostWrite(h, msix)
        # The vector of the last accepted write, until the hard block refuses it.
        taken = h.signal(range(len(msix.raised)), "taken_vector")
        refusable = h.signal(1, "refusable")
        takes = msix.o.valid & msix.o.ready
        h.m.d.sync += [
            taken.eq(Mux(takes, self.vector, taken)),
            refusable.eq(~msix.control.reset & (takes | (refusable & ~msix.refused))),
        ]
        h.ensure(part.inside("sent_vector") == taken)
        h.ensure(part.inside("refusable") == refusable)
        refused = h.register(msix.refused & refusable, "refused_q")
        refused_vector = h.register(taken, "taken_q")
        for vector in range(len(msix.raised)):
            offset = g.shell.msix_control(vector)
            lane = g.lane(offset)
            mask = Signal(name=f"mask_{vector}", init=1)
            mask_written = (
                write.valid & ~msix.busy & (write.address == g.word(offset)) & write.mask[4 * lane]
            )
            h.m.d.sync += mask.eq(
                Mux(msix.control.reset, 1, Mux(mask_written, write.data[32 * lane], mask))
            )
            self.masks.append(mask)
            h.ensure(part.inside("masked")[vector] == mask)

            expected = h.signal(1, f"expected_{vector}")
            leaves = self.begins & (self.vector == vector)
            raised = h.register(msix.raised[vector], f"raised_q_{vector}") | (
                refused & (refused_vector == vector)
            )
            next_expected = Mux(reset_q, 0, (expected & ~leaves) | raised)
            h.m.d.sync += expected.eq(next_expected)
            self.expected.append(expected)
            h.ensure(part.inside("pending")[vector] == next_expected)

        # Invariants for the induction: the reachable states of the FSM.
        self.words = max(1, MSIX_ENTRY_SIZE // g.word_bytes)
        self.state = part.inside("fsm_state")
        self.fetch = self.words if self.words > 1 else 1
        h.ensure(self.state <= self.fetch)
        h.ensure((self.state == 0) | ~msix.o.valid)
        h.ensure(self.vector < len(msix.raised))

    def of(self, bits: list[Signal], vector: Value) -> Value:
        """The element of ``bits`` for ``vector``."""
        return Cat(*bits).bit_select(vector, 1)


def interrupts_match_pending_bits(h: Harness) -> None:
    vectors = Vectors(h, geometry(128, FIFOS))
    allowed = vectors.part.inside("allowed_q")
    mask = h.register(Cat(*vectors.masks), "mask_q").bit_select(vectors.vector, 1)
    h.ensure(~vectors.begins | vectors.of(vectors.expected, vectors.vector))
    h.ensure(~vectors.begins | (allowed & ~mask))
    h.cover(vectors.begins & (vectors.vector == FIFOS - 1))


def cycles_to_leave(width: int) -> int:
    """Cycles within which a pending interrupt leaves: a turn of each vector, and before it the one
    in which it becomes allowed, or the last one of a vector that is masked while its entry is
    fetched."""
    words = max(1, MSIX_ENTRY_SIZE * 8 // width)
    return 1 + FIFOS * (1 + words)


def interrupts_leave_in_bounded_time(width: int) -> Callable[[Harness], None]:
    def fill(h: Harness) -> None:
        g = geometry(width, FIFOS)
        vectors = Vectors(h, g)
        msix, current = vectors.msix, vectors.vector
        vector = h.constant(range(FIFOS), "pending_vector")
        h.assume(vector < FIFOS)
        cycles = 1 + vectors.words
        limit = cycles_to_leave(width)
        pending = vectors.part.inside("pending").bit_select(vector, 1)
        can_leave = vectors.allowed & ~vectors.of(vectors.masks, vector) & msix.o.ready
        sent = (vectors.state == vectors.fetch) & (current == vector)
        wait_cycles = h.count(
            "wait_cycles", limit.bit_length() + 1, while_=pending & can_leave & ~sent
        )
        h.ensure(wait_cycles < limit)
        # Invariant for the induction: cycles until the round robin reaches the vector. The vector
        # that is being sent is the one picked, unless it was masked meanwhile.
        picked = vectors.part.inside("picked")
        h.ensure(picked < FIFOS)
        h.ensure((vectors.state == 0) | (vectors.words > 1) | (picked == current))
        rounds = Mux(current >= vector, vector + FIFOS - current, vector - current)
        turns = Mux(picked > vector, vector + FIFOS - picked, vector - picked)
        fetch_cycles = vectors.fetch - vectors.state
        from_pick = turns * cycles + cycles - 1
        after = Mux(picked == current, rounds * cycles - 1, from_pick)
        cycles_left = Mux(
            vectors.state == 0,
            from_pick + ~vectors.part.inside("allowed_q"),
            Mux(current == vector, fetch_cycles, fetch_cycles + 1 + after),
        )
        h.ensure(wait_cycles + cycles_left < limit)
        h.cover(pending & sent & (wait_cycles == limit - 1))

    return fill


def interrupts_use_table_entry(width: int) -> Callable[[Harness], None]:
    """Header and data of an interrupt of one vector, which the solver chooses.

    Address bits 1:0 are not compared.
    """

    def fill(h: Harness) -> None:
        g = geometry(width, FIFOS)
        vectors = Vectors(h, g)
        msix, write = vectors.msix, vectors.write
        vector = h.constant(range(FIFOS), "watched_vector")
        h.assume(vector < FIFOS)
        dwords = MSIX_CONTROL_OFFSET // 4
        entry = [h.signal(32, f"dword_{index}") for index in range(dwords)]
        writes = Signal()
        for number in range(FIFOS):
            for position, dword in enumerate(entry):
                offset = g.shell.msix_table_offset + number * MSIX_ENTRY_SIZE + 4 * position
                lane = g.lane(offset)
                entry_written = (
                    write.valid
                    & ~msix.busy
                    & (write.address == g.word(offset))
                    & (vector == number)
                )
                for byte in range(4):
                    with h.m.If(entry_written & write.mask[4 * lane + byte]):
                        h.m.d.comb += writes.eq(1)
                        h.m.d.sync += dword.word_select(byte, 8).eq(
                            write.data.word_select(4 * lane + byte, 8)
                        )
        clear = msix.control.reset | msix.busy
        with h.m.If(clear):
            h.m.d.sync += [dword.eq(0) for dword in entry]
        stable = h.count("stable", 3, while_=~writes & ~clear)

        header = RequestHeader(msix.o.p.hdr)
        low, high, content = entry
        is_3dw = high == 0
        hdr = msix.o.p.hdr
        begins = vectors.begins & (vectors.vector == vector) & (stable >= 3)
        for condition in (
            header.word0.fmt == Mux(is_3dw, TlpFormat.DATA_3DW, TlpFormat.DATA_4DW),
            header.word0.type == TlpType.MEMORY,
            header.word0.length == 1,
            header.first_be == 0xF,
            header.last_be == 0,
            header.requester_id == h.register(msix.control.requester_id, "requester_id_q"),
            hdr[34:64] == Mux(is_3dw, low[2:], high[2:]),
            is_3dw | (hdr[2:32] == low[2:]),
            msix.o.p.data == content,
            msix.o.p.strb & msix.o.p.sop & msix.o.p.eop,
        ):
            h.ensure(~begins | condition)
        h.cover(begins & ~is_3dw & content.any())

        # Invariants for the induction: the table and the non-zero flags of the upper address bytes
        # match the host writes. While the table is being cleared, its cleared words are zero.
        nonzero = Cat(high.word_select(byte, 8).any() for byte in range(4))
        clearing = vectors.part.inside("clearing")
        for word in range(vectors.words):
            index = Signal(8, name=f"index_{word}")
            per_word = max(1, g.word_bytes // MSIX_ENTRY_SIZE)
            h.m.d.comb += index.eq(
                vector * vectors.words + word if vectors.words > 1 else vector // per_word
            )
            row = vectors.part.row(h, index, "table")
            row_valid = ~msix.busy | (clearing > index)
            shift = 0 if vectors.words > 1 else vector % per_word * MSIX_ENTRY_SIZE * 8
            entry_bits = (row >> shift)[: min(g.data_width, MSIX_ENTRY_SIZE * 8)]
            expected = Cat(*entry, Const(0, 32))[word * g.data_width :][: len(entry_bits)]
            stored_bits = min(len(entry_bits), 32 * dwords - word * g.data_width)
            h.ensure(~row_valid | (entry_bits[:stored_bits] == expected[:stored_bits]))
            h.ensure(~msix.busy | (expected == 0))
            if not word:
                flags = vectors.part.row(h, index, "upper").word_select(vector % per_word, 4)
                h.ensure(~row_valid | (flags == nonzero))

    return fill


def interrupts_follow_head(h: Harness) -> None:
    """Head advances in the cycle in which its FIFO's interrupt is raised, as with the push engine.

    The host does not write head.
    """
    g = geometry(128, FIFOS)
    queues = Queues(h, g, device=True, driven=("reset",))
    words, engine = queues.words, queues.device.engine
    vectors = Vectors(h, g)
    h.m.d.comb += words.reset.eq(vectors.msix.control.reset)
    for fifo in range(FIFOS):
        offset = g.layout.device_queue_base(fifo) + g.layout.queue.head_offset
        h.assume(~(queues.host.enable & (queues.host.address == g.word(offset))))
        advances = engine.advance & (engine.advance_fifo == fifo)
        h.assume(vectors.msix.raised[g.shell.vector_of(fifo, FIFOS)] == advances)
        # The head after the newest message; the host's view is one cycle behind.
        newest = h.signal(g.index_shape, f"newest_{fifo}")
        with h.m.If(advances):
            h.m.d.sync += newest.eq(engine.next_index)
        with h.m.If(words.clear):
            h.m.d.sync += newest.eq(0)
        visible = h.register(newest, f"newest_q_{fifo}")
        h.ensure(~queues.merges(offset))
        cleared = queues.clears(offset)
        h.ensure((words.clear & ~cleared) | (queues.word(offset) == 0))
        h.ensure(words.clear | (queues.shown_head(fifo) == visible))
        h.ensure(~queues.clears(offset, 4) | (queues.shown_head(fifo) == 0))
        h.ensure(words.clear | (queues.device_head(fifo) == newest))
    for kind in ("lands", "coming"):
        h.ensure(words.clear | ~queues.words_part.inside(kind)[2])
    # An expected interrupt was raised two or more cycles ago, so its head is visible to the host.
    h.ensure(~vectors.begins | vectors.of(vectors.expected, vectors.vector))
    h.cover(vectors.begins & (vectors.vector == 1))


SOURCE = "PCI Express Base 4.0 section 6.1.4; PCI Local Bus 3.0 section 6.8.2"

PROOFS = (
    Proof(
        property="interrupts-match-pending-bits",
        statement="an interrupt leaves only if its vector was raised since its last interrupt, or "
        "that one was refused by the hard block, and was neither masked nor disabled in the "
        "previous cycle; a raised or refused interrupt stays pending until it leaves or the "
        "function is reset; masks are as the host wrote them; three vectors, 128 bits",
        source=SOURCE,
        module="hdl.msix",
        harness=interrupts_match_pending_bits,
        depth=3,
        mutant=Mutant(
            module="hdl.msix",
            before="pending.eq((pending & ~sent) | self.raised | refused)",
            after="pending.eq((pending | self.raised | refused) & ~sent)",
        ),
    ),
    *(
        Proof(
            property=f"interrupts-leave-in-bounded-time-{width}",
            statement=f"a pending interrupt leaves within {cycles_to_leave(width)} cycles in which "
            "it is enabled, unmasked and not stalled, for any activity of the other vectors; three "
            f"vectors, {width} bits",
            source=SOURCE,
            module="hdl.msix",
            harness=interrupts_leave_in_bounded_time(width),
            depth=3,
            cover_depth=40,
            mutant=Mutant(
                module="hdl.msix",
                before="round_robin(others, picked)",
                after="round_robin(others, Const(0, len(picked)))",
                depth=30,
            ),
        )
        for width in (64, 128)
    ),
    *(
        Proof(
            property=f"interrupts-use-table-entry-{width}",
            statement="the memory write of an interrupt has the address and data that the host "
            "wrote to the vector's table entry four or more cycles earlier, and zeros after a "
            f"reset; three vectors, {width} bits",
            source=SOURCE,
            module="hdl.msix",
            harness=interrupts_use_table_entry(width),
            depth=5,
            mutant=Mutant(module="hdl.msix", before=before, after=after),
        )
        for width, before, after in (
            (64, "vector * words + 1", "vector * words"),
            (128, "picked * words if words > 1 else picked // entries", "vector"),
            (256, "number = vector % entries", "number = vector % 1"),
        )
    ),
    Proof(
        property="interrupts-follow-head",
        statement="when an interrupt leaves, the head that the host reads is past the message that "
        "raised it; three FIFOs, 128 bits",
        source="patch series, vmsg_bus_amp_pci_send",
        module="hdl.queues.index_memory",
        harness=interrupts_follow_head,
        depth=4,
        cover_depth=20 + cycles_to_clear(FIFOS),
        mutant=Mutant(
            module="hdl.queues.index_memory",
            before="views.enable.eq(values.enable)",
            after="views.enable.eq(values.enable & ~views.enable)",
            depth=20 + cycles_to_clear(FIFOS),
        ),
    ),
)
