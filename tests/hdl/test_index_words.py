# SPDX-License-Identifier: BSD-2-Clause
"""The index words: what the host reads back, what the queues receive, and the reset."""

import pytest
from index_host import LAYOUTS, queue_id
from streams import Bench, geometry

from hdl.geometry import IndexKind
from hdl.queues.index_words import IndexWords
from models.layout import PAGE, SharedLayout

OWNED = (IndexKind.DRIVER_TAIL, IndexKind.DEVICE_HEAD)
"""Indices that engines own."""

FAR_PAGES = SharedLayout(
    name="far-pages", fifo_stride=8 * PAGE, driver_queue=6 * PAGE, device_queue=PAGE
)
"""Many addresses that may be that of an index word are none."""


def merged(word, data, mask):
    """``word`` with the bytes of ``mask`` from ``data``."""
    for byte in range(4):
        if mask >> byte & 1:
            field = 0xFF << 8 * byte
            word = word & ~field | data & field
    return word


class Host:
    """Random accesses of the host, at most one per cycle.

    Attributes
    ----------
    reads : dict
        Reads that were compared: of index words, by kind and by whether the queue answered for its
        engine; of other words, by None.
    beyond : int
        Writes beyond the capacity that were reported.
    resets : int
        Resets.
    merged : int
        Writes of some bytes of an index word.
    """

    def __init__(self, bench, g):
        self._bench, self._g = bench, g
        self._capacity = g.layout.queue.capacity
        kinds = [(kind, fifo) for fifo in range(g.num_fifos) for kind in IndexKind]
        self._places = dict(zip(g.index_words, kinds, strict=True))
        # What the host reads, the writes that take effect in the next cycle and in this one, each
        # kind, FIFO, index, and whether the word was beyond the capacity.
        self._words = dict.fromkeys(kinds, 0)
        self._coming = self._lands = None
        # The write of some bytes of the cycle before: place and word.
        self._merging = None
        # Data of the read of the cycle before.
        self._expected = 0
        # Words whose zero has not taken effect since the reset, and cycles since the last busy one.
        self._unzeroed = set(kinds)
        self._busy_for, self._idle_for = 0, 0
        self.reads, self.beyond, self.resets, self.merged = {}, 0, 0, 0
        bench.process(self._run)

    def _address(self):
        """An address of which ``may_be_index`` holds: some have no index word."""
        rng, g = self._bench.rng, self._g
        word = rng.choice(g.index_words)
        for bit in g.index_bits:
            if rng.random() < 0.05:
                word ^= 1 << bit
        return word

    def _write(self):
        rng = self._bench.rng
        small = rng.randrange(self._capacity + 2)
        data = rng.choice([small, small, 0, rng.getrandbits(32)])
        return self._address(), data, rng.choice([0xF, 0xF, 0xF, rng.getrandbits(4)])

    async def _run(self, ctx):
        bench, dut, rng = self._bench, self._bench.dut, self._bench.rng
        may_write = False
        # Addresses of the reads of the cycle before, and of that before.
        reads_before = ["unused", "unused"]
        while True:
            self._check_busy(ctx)
            self._check_read(ctx, *reads_before)
            self._check_updates(ctx)

            busy = self._busy_for > 0
            reset = not bench.ended and rng.random() < 0.01
            writes = may_write and not bench.ended and not bench.idles()
            reads = not writes and not bench.stalls()
            address, data, mask = write = self._write()
            read = self._address() if rng.random() < 0.9 else rng.getrandbits(len(dut.read.address))
            ctx.set(dut.reset, reset)
            ctx.set(dut.write.enable, writes)
            ctx.set(dut.write.address, address)
            ctx.set(dut.write.data, data)
            ctx.set(dut.write.mask, mask)
            # The data of a read beside a write, or while words are cleared, is not used.
            ctx.set(dut.read.enable, reads or (writes and rng.random() < 0.5))
            ctx.set(dut.read.address, read)
            if not reads:
                read = "nothing" if not writes else "unused"
            stalls = busy or reset or self._merging is not None
            reads_before = ["unused" if stalls else read, reads_before[0]]

            place = self._places.get(address) if writes else None
            self._show(ctx, place)
            partial = writes and mask != 0xF
            applied = self._merging[0] if self._merging else None if partial else place
            owned = applied is not None and applied[0] in OWNED
            may_write = ctx.get(dut.write_ready)
            assert may_write == (not (reset or busy or owned or partial))
            self._check_clear(ctx.get(dut.clear), reset)
            self._end(place, write, reset)
            await ctx.tick()

    def _show(self, ctx, place):
        """What the host sees of the word at ``place`` that it writes in this cycle, beside random
        indices of the engines."""
        dut, rng = self._bench.dut, self._bench.rng
        self._shown = self._words.get(place)
        for kind, views in zip(OWNED, (dut.driver_tails, dut.device_heads), strict=True):
            moved, index = rng.getrandbits(1), rng.randrange(self._capacity)
            ctx.set(views[1].moved, moved)
            ctx.set(views[1].index, index)
            if place is not None and place[0] == kind:
                assert ctx.get(views[1].fifo) == place[1]
                self._shown = index if moved else self._shown

    def _end(self, place, write, reset):
        """End a cycle in which the host made ``write``, to ``place`` or to no index word."""
        if self._lands is not None:
            self._unzeroed.discard(self._lands[:2])
        self._lands, self._coming = self._coming, None
        applied, self._merging = self._merging, None
        if place is not None:
            applied = place, merged(self._shown, *write[1:])
            if write[2] != 0xF:
                self._merging, applied = applied, None
                self.merged += 1
        if applied is not None:
            place, word = applied
            self._words[place] = word
            self._coming = (*place, word % self._capacity, word >= self._capacity)
        if reset:
            self._lands = self._coming = self._merging = None
            self._words = dict.fromkeys(self._words, 0)
            self._unzeroed = set(self._words)
            self.resets += 1

    def _check_busy(self, ctx):
        busy = ctx.get(self._bench.dut.busy)
        self._busy_for = self._busy_for + 1 if busy else 0
        self._idle_for = 0 if busy else self._idle_for + 1
        words = len(IndexKind) << (self._g.num_fifos - 1).bit_length()
        assert self._busy_for <= words or self.resets, "the words are not cleared at one per cycle"
        assert ctx.get(self._bench.dut.read_ready) == (not busy and self._merging is None)

    def _check_clear(self, clear, reset):
        assert clear or not (reset or self._unzeroed), "an index is not zero yet"
        assert not clear or reset or self._idle_for <= 2, "`clear` does not end"

    def _check_read(self, ctx, before, before_that):
        """Check ``read_hit`` of the read of the cycle before, beside random indices of the engines;
        and the data of the read before that one."""
        dut, rng = self._bench.dut, self._bench.rng
        if before_that != "unused":
            assert ctx.get(dut.read.data) == self._expected, f"read of {before_that}"
        views = dict(zip(OWNED, (dut.driver_tails[0], dut.device_heads[0]), strict=True))
        answers = {}
        for kind, view in views.items():
            moved, index = rng.getrandbits(1), rng.randrange(self._capacity)
            ctx.set(view.moved, moved)
            ctx.set(view.index, index)
            answers[kind] = index if moved else None
        self._expected = 0
        if before == "unused":
            return
        place = self._places.get(before)
        assert ctx.get(dut.read_hit) == (place is not None)
        if place is None:
            self.reads[None] = self.reads.get(None, 0) + (before != "nothing")
            return
        kind, fifo = place
        answer = answers.get(kind)
        if kind in OWNED:
            assert ctx.get(views[kind].fifo) == fifo
        self._expected = self._words[place] if answer is None else answer
        case = (kind, answer is not None)
        self.reads[case] = self.reads.get(case, 0) + 1

    def _check_updates(self, ctx):
        """Check the writes that the queues receive. Those that clear words come in any order."""
        dut = self._bench.dut
        names = (("driver", "head"), ("driver", "tail"), ("device", "head"), ("device", "tail"))
        coming, lands = [], []
        for kind, (queue, end) in zip(IndexKind, names, strict=True):
            update = getattr(dut, queue)
            if ctx.get(getattr(update, f"coming_{end}")):
                coming.append((kind, ctx.get(update.coming_fifo)))
            if ctx.get(getattr(update, end)):
                lands.append((kind, ctx.get(update.fifo), ctx.get(update.index)))
        if self._coming is None and coming and self._idle_for <= 1:
            (word,) = coming
            self._coming = (*word, 0, False)
        assert coming == ([self._coming[:2]] if self._coming else [])
        beyond = False
        if self._lands is None:
            assert not lands
        elif self._lands[1] < self._g.num_fifos:
            assert lands == [self._lands[:3]]
            beyond = self._lands[3]
        assert ctx.get(dut.sanitised) == beyond
        self.beyond += beyond


CASES = [(64, 1), (128, 3), (256, 8), (512, 1)]


@pytest.mark.parametrize("width, fifos", CASES)
@pytest.mark.parametrize("layout", [*LAYOUTS, FAR_PAGES], ids=queue_id)
def test_host_accesses_and_reset(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    bench = Bench(IndexWords(g), width, fifos, layout.name, period=120)
    host = Host(bench, g)
    bench.run()
    expected = {(kind, False) for kind in IndexKind} | {(kind, True) for kind in OWNED} | {None}
    assert host.reads.keys() == expected
    assert host.beyond > 10
    assert host.resets
    assert host.merged > 10
