# SPDX-License-Identifier: BSD-2-Clause
"""The push engine: each packet stored, discarded or dropped, and exactly one of them."""

from dataclasses import dataclass, field

import pytest
from engine_queues import EngineQueues
from streams import SIZES, UNTHROTTLED, Bench, geometry

from hdl.dma.limits import PENDING_WRITES
from hdl.queues.push import PushEngine
from models.layout import MIN_MESSAGE, SMALL_PAGES, SPSC_PAGES


@dataclass
class Packet:
    """A packet of the device side, and the cycles in which things happened to it."""

    fifo: int
    content: bytes
    is_message: bool
    begun: int | None = None
    stored: int | None = None
    words: int = 0
    awaited: list = field(default_factory=list)


def random_packet(bench, g):
    """A packet and its beats: a message, or one that is malformed."""
    rng = bench.rng
    step, slot = g.word_bytes, g.layout.queue.slot_size
    size = rng.choice([slot, slot, MIN_MESSAGE, rng.randint(MIN_MESSAGE, slot)])
    if rng.random() < 0.15:
        size = rng.choice([rng.randint(1, MIN_MESSAGE - 1), slot + rng.randint(1, 2 * slot)])
    fifo = rng.randrange(g.num_fifos) if rng.random() < 0.95 else rng.randrange(8)
    content = rng.randbytes(size)
    beats = []
    for at in range(0, size, step):
        piece = content[at : at + step]
        beats.append(
            {
                "tdata": int.from_bytes(piece.ljust(step, b"\xa5"), "little"),
                "tkeep": (1 << len(piece)) - 1,
                "tlast": at + step >= size,
                "tdest": fifo,
            }
        )
    gap = rng.random() < 0.05
    if gap:
        # Of the last two bytes one stays at least, so that the gap is in the middle.
        beat = rng.choice(beats)
        beat["tkeep"] &= ~(1 << max(beat["tkeep"].bit_length() - 2, 0))
    is_message = fifo < g.num_fifos and MIN_MESSAGE <= size <= slot and not gap
    return Packet(fifo, content, is_message), beats


class DeviceSide:
    """The device queues in a model memory, the driver that empties them, and DMA writes.

    Parameters
    ----------
    bench : Bench
    g : Geometry
    clears : float
        Probability, in a cycle, that the host rewrites a head or resets the function.
    writes : float
        Probability, in a cycle, that a DMA write is accepted.
    drains : float
        Probability, in a cycle, that the driver takes a message.
    holds : float
        Probability, in a cycle, that a host write of another head holds the engine.

    Attributes
    ----------
    packets : list of Packet
        Packets on the stream so far.
    outcomes : list
        ``stored``, ``malformed`` or ``dropped``, in the order of the packets.
    held : list
        Cycles in which the engine was held.
    """

    def __init__(self, bench, g, *, clears=0.0, writes=0.0, drains=0.3, holds=0.0):
        self._bench, self._g = bench, g
        self._clears, self._writes, self._drains, self._holds = clears, writes, drains, holds
        self._capacity = g.layout.queue.capacity
        n = g.num_fifos
        self._head, self._tail = [0] * n, [0] * n
        self.packets, self.outcomes, self.held = [], [], []
        self._resets, self._rewrites = [], []
        self._memory = {}
        self._bursts = []
        self._first = True

    def word(self, word):
        """The defined part of a word for the RAM: zero outside the mask."""
        content = bytearray(word["data"].to_bytes(self._g.word_bytes, "little"))
        for byte in range(self._g.word_bytes):
            if not word["mask"] >> byte & 1:
                content[byte] = 0
        return {"address": word["address"], "content": bytes(content)}

    def store(self, word):
        """A word is written to the RAM."""
        self._memory[word["address"]] = word["content"]
        packet = self._present()
        if packet.stored is None:
            packet.stored = self._bench.cycle
        packet.words += 1

    def _present(self):
        """The packet whose outcome is open."""
        return self.packets[len(self.outcomes)]

    def _slot(self, fifo, index):
        """Content of a slot."""
        g, queue = self._g, self._g.layout.queue
        at = g.layout.device_queue_base(fifo) + queue.slot_offset(index)
        words = range(at // g.word_bytes, (at + queue.slot_size) // g.word_bytes)
        return b"".join(self._memory.get(word, b"") for word in words)

    def _free(self, fifo):
        return (self._tail[fifo] - self._head[fifo] - 1) % self._capacity

    async def run(self, ctx):
        bench, dut, n = self._bench, self._bench.dut.engine, self._g.num_fifos
        rng, queues = bench.rng, dut.queues
        resetting = 0
        accepts = False
        while True:
            clears = not bench.ended and rng.random() < self._clears
            resetting = max(resetting - 1, 0) or (
                rng.randint(1, 3) if clears and rng.random() < 0.4 else 0
            )
            rewritten = {}
            if clears and not resetting:
                rewritten = {rng.randrange(n): rng.randrange(self._capacity)}
            free = [self._free(fifo) for fifo in range(n)]
            holds = rng.random() < self._holds
            held = bench.dut.drive(ctx, self._head, free, rewritten, holds=holds)
            ctx.set(dut.reset, resetting > 0)
            reported, accepts = (
                accepts,
                (rng.random() < self._writes and len(self._bursts) < PENDING_WRITES),
            )
            # `bench.cycle` is still that of the cycle before.
            counted = [accepted for accepted in self._bursts if accepted < bench.cycle]
            departs = bool(counted) and rng.random() < 0.2
            ctx.set(dut.writes.pending, len(counted))
            ctx.set(dut.writes.accepted, reported)
            ctx.set(dut.writes.departed, departs)

            values = (
                *(dut.i.valid, dut.i.ready, dut.i.p.tlast),
                *(queues.advance, queues.advance_fifo, queues.next_index),
                *(dut.raised, dut.malformed, dut.dropped, dut.filling),
                *(dut.ram.valid, dut.ram.ready),
            )
            _, _, *sampled = await ctx.tick().sample(*values)
            valid, ready, last, advances, fifo, value, raised, malformed, dropped, *rest = sampled
            filling, stores, accepted = rest
            self._follow_stream(valid, ready and last)
            self._check_filling(filling, stores and accepted)
            # A reset clears the head after an advance in its own cycle.
            advances = advances and not resetting
            assert raised == (1 << fifo if advances else 0)
            if held:
                self.held.append(bench.cycle)
            if resetting:
                self._resets.append(bench.cycle)
            self._rewrites += [(bench.cycle, index) for index in rewritten]
            for name, happens in (
                ("stored", advances),
                ("malformed", malformed),
                ("dropped", dropped),
            ):
                if happens:
                    self._finish(name)
            if advances:
                assert not held, "a head advances in the cycle of a host write"
                assert value == self._g.layout.queue.next(self._head[fifo])
                self._head[fifo] = value
            self._drain(rng)
            if resetting:
                rewritten = dict.fromkeys(range(n), 0)
            for fifo, index in rewritten.items():
                self._head[fifo] = index
                self._tail[fifo] = 0 if resetting else rng.choice([index, self._tail[fifo]])
            if departs:
                self._bursts.pop(0)
            if accepts:
                self._bursts.append(bench.cycle)

    def _follow_stream(self, valid, ends):
        """Note the first cycle of each packet, and the writes that it must wait for."""
        if valid and self._first:
            packet = self.packets[-1]
            packet.begun = self._bench.cycle
            packet.awaited = list(self._bursts)
            self._first = False
        if valid and ends:
            self._first = True

    def _check_filling(self, filling, stores):
        """``filling`` follows the words of a slot, from the first one on."""
        filled = self._filled()
        if stores:
            filled = self._present().fifo
        assert filling == (0 if filled is None else 1 << filled)

    def _filled(self):
        """The FIFO of the slot that has been begun, or None."""
        if len(self.outcomes) == len(self.packets):
            return None
        packet = self._present()
        begun = packet.stored is not None and packet.stored < self._bench.cycle
        # One that is longer than its slot is discarded from there on.
        return packet.fifo if begun and packet.words < self._g.slot_words else None

    def _cleared(self, fifo, since):
        """Whether the host rewrote the head or reset the function."""
        return any(cycle >= since for cycle in self._resets) or any(
            cycle >= since and index == fifo for cycle, index in self._rewrites
        )

    def _drain(self, rng):
        for fifo in range(self._g.num_fifos):
            if self._tail[fifo] != self._head[fifo] and rng.random() < self._drains:
                self._tail[fifo] = self._g.layout.queue.next(self._tail[fifo])

    def _finish(self, outcome):
        """Check the outcome of a packet."""
        packet = self._present()
        self.outcomes.append(outcome)
        now = self._bench.cycle
        if outcome == "stored":
            assert packet.is_message, "a malformed packet is stored"
            size = self._g.layout.queue.slot_size
            slot = self._slot(packet.fifo, self._head[packet.fifo])
            assert slot == packet.content.ljust(size, b"\0")
            awaited = [burst for burst in packet.awaited if burst in self._bursts]
            assert not awaited, "a message overtakes a write"
        elif outcome == "malformed":
            assert not packet.is_message, "a message is discarded"
        else:
            assert packet.begun is not None and self._cleared(packet.fifo, packet.begun)
        # A reset drops the packet that is valid; a new head drops the packet that is being stored.
        reset = any(packet.begun <= cycle <= now for cycle in self._resets)
        rewritten = packet.stored is not None and any(
            packet.stored < cycle <= now and fifo == packet.fifo for cycle, fifo in self._rewrites
        )
        assert outcome != "stored" or not (reset or rewritten), "a packet is not dropped"


def run(width, fifos, **options):
    """Send packets of every kind; returns the device side."""
    g = geometry(width, fifos, layout=SMALL_PAGES)
    bench = Bench(EngineQueues(PushEngine(g), g), "push", width, fifos, *options.items())
    dut = bench.dut.engine
    side = DeviceSide(bench, g, **options)

    def packets():
        while True:
            packet, beats = random_packet(bench, g)
            side.packets.append(packet)
            yield beats

    # In this order: words are stored before their slot is checked, and a packet is seen before the
    # source makes the next one.
    # A reset or a host write of a head withdraws a word.
    bench.sink(dut.ram, side.store, defined=side.word, holds=not {"clears", "holds"} & {*options})
    bench.process(side.run)
    bench.source(dut.i, packets())
    bench.run()
    assert len(side.outcomes) == len(side.packets)
    return side


@pytest.mark.parametrize("width, fifos", [*SIZES, (512, 1)])
@pytest.mark.parametrize("options", [{}, {"holds": 0.5}], ids=["alone", "holds"])
def test_messages_are_stored_and_others_discarded(width, fifos, options):
    side = run(width, fifos, writes=0.1, **options)
    assert side.outcomes == [
        "stored" if packet.is_message else "malformed" for packet in side.packets
    ]
    assert side.outcomes.count("stored") > 3


@pytest.mark.parametrize("width, fifos", [*SIZES, (512, 1)])
@pytest.mark.parametrize("options", [{}, {"holds": 0.2}], ids=["alone", "holds"])
def test_reset_and_new_head_drop_the_packet_in_flight(width, fifos, options):
    side = run(width, fifos, clears=0.05, **options)
    assert side.outcomes.count("stored") > 3


@pytest.mark.parametrize("width", [64, 512])
@pytest.mark.parametrize("holds", [0, 0.5])
def test_one_word_per_cycle(width, holds):
    """The first word and the last word of a slot wait for the cycle after a host write."""
    g = geometry(width, layout=SPSC_PAGES)
    bench = Bench(
        EngineQueues(PushEngine(g), g), "push", width, holds, paces=UNTHROTTLED, period=120
    )
    dut = bench.dut.engine
    side = DeviceSide(bench, g, holds=holds)
    count = 8

    def packets():
        for _ in range(count):
            content = bench.rng.randbytes(64)
            side.packets.append(Packet(0, content, True))
            step = g.word_bytes
            words = [content[at : at + step] for at in range(0, 64, step)]
            yield [
                {
                    "tdata": int.from_bytes(word, "little"),
                    "tkeep": (1 << step) - 1,
                    "tlast": place == len(words) - 1,
                    "tdest": 0,
                }
                for place, word in enumerate(words)
            ]

    words = bench.sink(dut.ram, side.store, defined=side.word, holds=not holds)
    bench.process(side.run)
    bench.source(dut.i, packets())
    bench.run()
    cycles = [word["cycle"] for word in words]
    expected = []
    now = cycles[0]
    for place in range(count * g.slot_words):
        waits = place % g.slot_words in (0, g.slot_words - 1)
        now += waits and now in side.held
        expected.append(now)
        now += 1
    assert cycles == expected
