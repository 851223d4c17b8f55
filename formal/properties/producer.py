# SPDX-License-Identifier: BSD-2-Clause
"""Device queues, which the gateware produces."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from amaranth.hdl import Cat, Const, Mux, Signal
from amaranth.lib import wiring

from hdl.dma.limits import PENDING_WRITES
from hdl.geometry import Geometry
from hdl.queues.memory import FifoMemory
from hdl.queues.push import PushEngine
from models.layout import MIN_MESSAGE

from ..geometry import geometry
from ..harness import Harness, Part
from ..proof import Mutant, Proof
from ..ring import (
    Queues,
    SlotAccess,
    add_memory,
    add_push,
    cycles_to_clear,
    distance,
    in_bank,
    is_slot,
    last_slot,
    slot_address,
    successor,
)

__all__ = ["PROOFS"]

CAPACITY = geometry(128, 1).layout.queue.capacity


class PacketTracker:
    """The packet in flight, derived from the stream alone.

    Attributes
    ----------
    accepted, ends
        A beat is accepted in this cycle, the last beat of a packet.
    in_flight, beats
        Beats have been accepted, but not the last one; their number, up to one more than fit.
    sound
        The accepted beats can be the beginning of a message.
    good
        With ``ends``: the packet is a message.
    fifo
        FIFO of the packet.
    """

    def __init__(self, h: Harness, g: Geometry, push: PushEngine):
        beat, words = push.i.p, g.slot_words
        self.accepted = push.i.valid & push.i.ready
        self.ends = self.accepted & beat.tlast
        self.in_flight = h.latched(~beat.tlast, self.accepted, "in_flight")
        self.beats = Signal(range(words + 1), name="beats")
        self.sound = Signal(name="sound")
        first = ~self.in_flight
        self.begun_for = h.latched(beat.tdest, self.accepted & first, "begun_for")
        self.fifo = Mux(first, beat.tdest, self.begun_for)
        full = beat.tkeep.all()
        ones_from_zero = (beat.tkeep & (beat.tkeep + 1))[: g.word_bytes] == 0
        enough = ~first | (beat.tkeep >= (1 << MIN_MESSAGE) - 1)
        fits = (Mux(first, 0, self.beats) < words) & (self.fifo < g.num_fifos)
        so_far = (first | self.sound) & fits
        self.good = so_far & ones_from_zero & beat.tkeep[0] & enough
        with h.m.If(self.accepted):
            h.m.d.sync += [
                self.beats.eq(Mux(first, 1, Mux(self.beats == words, self.beats, self.beats + 1))),
                self.sound.eq(so_far & full),
            ]
        beats = Mux(first, 0, self.beats)
        self.word = beats[: len(Signal(range(words)))]


class Filling:
    """The slot being filled, derived from the write port alone.

    Attributes as in :class:`~formal.properties.consumer.Reading`. A message may be abandoned at any
    word.
    """

    def __init__(self, h: Harness, g: Geometry, push: PushEngine):
        self.access = access = SlotAccess(g, g.layout.device_queue, push.ram.p.address)
        self.written = push.ram.valid & push.ram.ready
        self.first = push.ram.valid & (access.word == 0)
        self.last = self.written & (access.word == g.slot_words - 1)
        self.fifo = h.latched(access.fifo, self.written, "fifo")
        self.slot = h.latched(access.slot, self.written, "slot")
        self.word = h.latched(access.word + 1, self.written, "word")[: len(access.word)]

    def explain(self, h: Harness, g: Geometry, part: Part) -> None:
        """Relate the registers of the engine to this object, for the induction."""
        active = part.inside("active")
        h.ensure((part.inside("word") != 0) == active)
        h.ensure(~active | (part.inside("word") == self.word))
        h.ensure(~active | (part.inside("last_fifo") == self.fifo))
        h.ensure(~active | (last_slot(g, part).index == self.slot))
        h.ensure(part.inside("last_fifo") < g.num_fifos)
        last = last_slot(g, part)
        h.ensure(last.index < CAPACITY)
        h.ensure(~active | is_slot(g, last))
        h.ensure(~part.inside("padding") | active)
        h.ensure(~(part.inside("draining") & active))


def writes_stay_in_queue(fifos: int) -> Callable[[Harness], None]:
    """Any packets, and a host that writes anything at any time and resets."""

    def fill(h: Harness) -> None:
        g = geometry(128, fifos)
        queues = Queues(h, g, device=True, driven=("engine",))
        push, part = add_push(h, g, queues)
        filling = Filling(h, g, push)
        filling.explain(h, g, part)
        access, writes, port = filling.access, push.ram.valid, push.queues
        same = (access.fifo == filling.fifo) & (access.slot == filling.slot)
        h.ensure(~writes | access.inside)
        h.ensure(~writes | filling.first | (same & (access.word == filling.word)))
        h.ensure(~port.advance | (filling.last & (port.advance_fifo == access.fifo) & ~port.hold))
        h.ensure(~port.advance | (port.next_index == successor(access.slot, CAPACITY)))
        h.ensure(push.raised == Mux(port.advance & ~push.reset, Const(1) << port.advance_fifo, 0))
        for fifo, tail_before in enumerate(queues.tails_before):
            head = queues.device_head(fifo)
            here = filling.first & (access.fifo == fifo)
            full = successor(head, CAPACITY) == tail_before
            h.ensure(~here | ((access.slot == head) & ~full))
            # For the induction.
            mine = part.inside("active") & (filling.fifo == fifo)
            h.ensure(~mine | part.inside("aborted") | (filling.slot == head))
        h.cover(queues.words.sanitised & filling.written)
        h.cover(port.advance & (access.slot == CAPACITY - 1))

    return fill


def messages_are_stored(h: Harness) -> None:
    """The device side sends any packets. The host advances tail over the messages that it has been
    given and writes into no device queue. The data is compared in one word of one slot."""
    g = geometry(128, 2)
    queue, words = g.layout.queue, g.slot_words
    queues = Queues(h, g, device=True, driven=("engine", "reset"))
    host = queues.host
    memory, store = add_memory(h, g, host, driven=("push",))
    push, part = add_push(h, g, queues, driven=("ram_ready",))
    wiring.connect(h.m, push.ram, memory.push)
    packet = PacketTracker(h, g, push)
    filling = Filling(h, g, push)
    filling.explain(h, g, part)
    port = push.queues
    moves = port.advance

    # Each message advances head once, when it is whole; nothing else does.
    completed = packet.ends & packet.good
    owed = h.latch("owed", rises=completed & ~moves, falls=moves)
    owed_fifo = h.latched(packet.fifo, packet.accepted, "owed_fifo")
    h.ensure(~moves | owed | completed)
    h.ensure(~(owed & packet.accepted))
    h.ensure(~moves | (port.advance_fifo == Mux(owed, owed_fifo, packet.fifo)))
    h.ensure(push.malformed == (packet.ends & ~packet.good))
    h.ensure(~push.dropped)
    active, padding = part.inside("active"), part.inside("padding")
    swallowing = part.inside("draining")
    h.ensure(owed == padding)
    h.ensure(packet.in_flight == ((active & ~padding) | swallowing))
    h.ensure(~(active & ~padding) | (part.inside("word") == packet.beats))
    h.ensure(~(active & ~padding) | (part.inside("check", "malformed_q") == ~packet.sound))
    h.ensure(~swallowing | ~packet.sound | (packet.beats == words))
    h.ensure(~active | (part.inside("last_fifo") == owed_fifo))
    h.ensure(~packet.in_flight | (packet.begun_for == owed_fifo))
    for name in ("aborted", "drop_next", "drain_drops"):
        h.ensure(~part.inside(name))

    write_address = host.address
    writes = host.enable
    h.assume(~(writes & SlotAccess(g, g.layout.device_queue, write_address).inside))
    could_read = h.register(~writes & memory.host.read_ready, "could_read")
    reads, visibles = [], []
    for fifo in range(g.num_fifos):
        base = g.layout.device_queue_base(fifo)
        head, tail = queues.device_head(fifo), queues.device_tail(fifo)
        here = writes & (write_address == g.word(base + queue.tail_offset))
        read = h.signal(g.index_shape, f"read_{fifo}")
        reads.append(read)
        # The head that the host may have read: it does not read in a cycle in which it writes.
        shown = queues.shown_head(fifo)
        visible_before = h.signal(g.index_shape, f"visible_{fifo}")
        visible = Mux(could_read, shown, visible_before)
        h.m.d.sync += visible_before.eq(visible)
        visibles.append(visible)
        h.ensure(shown == h.register(head, f"head_before_{fifo}"))
        with h.m.If(here):
            h.m.d.sync += read.eq(host.data[:32])
        # A driver that obeys the protocol.
        h.assume(~(writes & (write_address == g.word(base + queue.head_offset))))
        h.assume(~here | host.mask[:4].all())
        h.assume(~here | (host.data[:32] == successor(read, CAPACITY)))
        h.assume(~here | (read != visible))

        stages = [read]
        for stage in range(2):
            stages.append(h.register(stages[-1], f"read_{fifo}_{stage}"))
        h.ensure(tail == stages[-1])
        h.ensure(queues.word(base + queue.tail_offset) == read)
        # Words are cleared only before the first message.
        h.ensure(~queues.words.clear | ((head == 0) & (tail == 0) & (read == 0) & (shown == 0)))
        way = [
            distance(tail, index, CAPACITY) for index in (*reversed(stages), visible, shown, head)
        ]
        for nearer, further in itertools.pairwise(way):
            h.ensure(nearer <= further)
        for index in (*stages, visible):
            h.ensure(index < CAPACITY)
        h.ensure(~port.has_one[fifo] | (successor(head, CAPACITY) != tail))
        mine = active & (part.inside("last_fifo") == fifo)
        h.ensure(~mine | ((filling.slot == head) & (successor(head, CAPACITY) != tail)))

    h.ensure(~queues.words.clear | ~active)
    for kind in ("lands", "coming"):
        h.ensure(queues.words.clear | ~queues.words_part.inside(kind)[2])

    fifo = h.constant(1, "watched_fifo")
    slot = h.constant(g.index_shape, "watched_slot")
    word = h.constant(range(words), "watched_word")
    h.assume(slot < CAPACITY)
    # The watched word of the packet in flight, with zeros past its end.
    beat = push.i.p
    kept = Cat(
        beat.tdata.word_select(byte, 8) & beat.tkeep[byte].replicate(8)
        for byte in range(g.word_bytes)
    )
    draft = h.signal(g.data_width, "draft")
    now = Signal(g.data_width, name="draft_now")
    h.m.d.comb += now.eq(draft)
    with h.m.If(packet.accepted & (packet.word == word)):
        h.m.d.comb += now.eq(kept)
    with h.m.Elif(packet.ends & (packet.word < word)):
        h.m.d.comb += now.eq(0)
    h.m.d.sync += draft.eq(now)
    to_watched = (filling.access.fifo == fifo) & (filling.access.slot == slot)
    content = h.latched(now, moves & to_watched, "content")
    address = slot_address(g, g.layout.device_queue, fifo, slot, word)
    stored = store.row(h, in_bank(g, address), "device_bank")
    start, end = Mux(fifo, reads[1], reads[0]), queues.device_head(fifo)
    place = distance(start, slot, CAPACITY)
    is_seen = place < distance(start, Mux(fifo, visibles[1], visibles[0]), CAPACITY)
    h.ensure(~is_seen | (stored == content))
    # For the induction: a word in the register before the RAM counts as stored.
    under_way = store.inside("pushed") & (store.inside("push_address") == address)
    settled = Mux(under_way, store.inside("push_data"), stored)
    host_place = SlotAccess(g, g.layout.device_queue, store.inside("host_address"))
    h.ensure(~(store.inside("from_host") & host_place.inside))
    handed_over = place < distance(start, end, CAPACITY)
    h.ensure(~handed_over | (settled == content))
    in_progress = active & (filling.fifo == fifo) & (filling.slot == slot)
    h.ensure(~in_progress | (filling.word <= word) | (settled == draft))
    h.ensure(~(in_progress & padding) | (filling.word > word) | (draft == 0))
    h.cover(is_seen & (word == words - 1) & content.any())
    h.cover(moves & owed & (port.next_index == 2))
    h.cover(packet.ends & ~packet.good & active)


def host_reads_are_of_the_ram(h: Harness) -> None:
    """Reads of any word that is not written in the same cycle."""
    g = geometry(128, 2)
    memory = FifoMemory(g)
    part = h.add("memory", memory)
    h.assume(~(memory.host.read.enable & memory.host.write.enable))
    address = memory.host.read.address
    in_device = address[g.bank_bit] == g.device_bank
    writes_device = memory.host.write.address[g.bank_bit] == g.device_bank
    h.assume(memory.host.write_to_driver == (memory.host.write.enable & ~writes_device))
    h.assume(memory.host.write_to_device == (memory.host.write.enable & writes_device))
    h.assume(~memory.host.read.enable | memory.host.read_ready)
    row = Mux(
        in_device,
        part.row(h, in_bank(g, address), "device_bank"),
        part.row(h, in_bank(g, address), "driver_bank"),
    )
    meets = part.inside("pushed") & (part.inside("push_address") == address)
    shown = h.register(Mux(memory.host.read.enable, row, 0), "read")
    hidden = Mux(memory.host.read_hides, Cat(Const(0, 32), shown[32:]), shown)
    known = h.register(~(memory.host.read.enable & meets), "known")
    h.ensure(
        ~h.register(known, "known_before") | (memory.host.read.data == h.register(hidden, "hidden"))
    )
    # For the induction: the selected bank.
    enabled = h.register(memory.host.read.enable, "enabled")
    h.ensure(part.inside("from_driver") == (enabled & ~h.register(in_device, "was_in_device")))
    h.ensure(part.inside("from_device") == (enabled & h.register(in_device, "was_in_bank")))
    h.cover(memory.host.read.data.any())


def messages_wait_for_writes(h: Harness) -> None:
    """The window counts each write from the cycle after its acceptance until it departs."""
    push = PushEngine(geometry(128, 2))
    part = h.add("push", push, driven=("writes_pending",))
    h.assume_held(push.i, "message")
    taken, left = push.writes.accepted, push.writes.departed
    pending = Signal.like(push.writes.pending, name="pending")
    h.m.d.comb += push.writes.pending.eq(pending)
    h.m.d.sync += pending.eq(pending + taken - left)
    h.assume(~left | (pending != 0))
    h.assume(~taken | (pending != PENDING_WRITES))
    h.ensure(pending <= PENDING_WRITES)

    # Writes accepted before the last beat of a packet was first valid that have not departed: for
    # the valid packet, and for the one whose slot is being padded.
    ends = push.i.valid & push.i.p.tlast
    was_on_offer = h.register(ends & ~push.i.ready, "was_on_offer")
    owed_before = Signal.like(pending, name="owed_before")
    owed = Mux(was_on_offer, owed_before, pending + taken)[: len(pending)]
    owed_after = owed - (left & (owed != 0))
    owed_by_slot = Signal.like(pending, name="owed_by_slot")
    h.m.d.sync += owed_before.eq(owed_after)
    with h.m.If(ends & push.i.ready):
        h.m.d.sync += owed_by_slot.eq(owed_after)
    with h.m.Elif(left & (owed_by_slot != 0)):
        h.m.d.sync += owed_by_slot.eq(owed_by_slot - 1)
    still = Mux(part.inside("padding"), owed_by_slot, owed)
    h.ensure(~push.queues.advance | (still == 0))
    h.cover(push.queues.advance & (pending != 0))

    # For the induction: the engine counts at least as many.
    counted, counts = part.inside("fence", "counted"), part.inside("fence", "remaining")
    h.ensure(part.inside("fence", "any_remaining") == (counts != 0))
    h.ensure(~counted | ~(part.inside("padding") | ends) | (still <= counts))
    h.ensure(~counted | part.inside("fence", "due_q"))
    h.ensure(~was_on_offer | (owed_before <= pending))
    h.ensure(owed_by_slot <= pending)
    h.ensure(
        ~part.inside("fence", "due_q")
        | part.inside("padding")
        | h.register(push.i.valid & ~push.i.ready, "beat_waited")
    )


PROOFS = (
    *(
        Proof(
            property=f"writes-stay-in-queue-{fifos}",
            statement="every write is to a slot of a device queue, a message begins at head and "
            "only if the queue was not full in the previous cycle, head advances by one, with the "
            "last word only and with the FIFO's interrupt, and every index is below 62; for any "
            "packets and a host that writes anything at any time and resets, "
            f"{fifos} FIFO{'s' * (fifos > 1)}, 128 bits",
            source="patch series, spsc_send; virtio-msg over shared memory, hostile peers",
            module="hdl.queues.push",
            harness=writes_stay_in_queue(fifos),
            depth=3,
            cover_depth=20 + cycles_to_clear(fifos),
            mutant=Mutant(
                module="hdl.queues.push",
                before="queues.has_one.bit_select(beat.tdest, 1) & ~self.reset",
                after="~self.reset",
                depth=20 + cycles_to_clear(fifos),
            ),
        )
        for fifos in (1, 3, 8)
    ),
    Proof(
        property="messages-are-stored",
        statement="each packet that is a message is in its slot, once, in order and whole, with "
        "zeros past its end, from when head is visible to the host until it advances tail; every "
        "other packet advances nothing and is reported; any packets, a host that obeys the "
        "protocol, two FIFOs, 128 bits",
        source="patch series, spsc_send and spsc_recv",
        module="hdl.queues.push",
        harness=messages_are_stored,
        depth=5,
        mutant=Mutant(
            module="hdl.queues.push",
            before="Mux(padding, 0, beat.tkeep)",
            after="beat.tkeep",
        ),
    ),
    Proof(
        property="messages-wait-for-writes",
        statement="head does not advance before every write to host memory has departed that was "
        "accepted before the packet's last beat was valid; any packets, host and resets, two "
        "FIFOs, 128 bits",
        source="PCI Express Base 4.0 section 2.4.1, a posted request does not pass another",
        module="hdl.queues.push",
        harness=messages_wait_for_writes,
        depth=2,
        mutant=Mutant(
            module="hdl.queues.fence",
            before="accepted = self.writes.accepted & ~due_q",
            after="accepted = 0",
        ),
    ),
    Proof(
        property="host-reads-are-of-the-ram",
        statement="two cycles after a host read its data is the word in the RAM, unless a write of "
        "the push engine to that word is in flight, and zero when nothing was read; 128 bits",
        source="PCI Express Base 4.0 section 2.2.9, data of a completion",
        module="hdl.queues.memory",
        harness=host_reads_are_of_the_ram,
        depth=3,
        mutant=Mutant(
            module="hdl.queues.memory",
            before="from_device.eq(host.read.enable & read_device)",
            after="from_device.eq(host.read.enable)",
        ),
    ),
)
