# SPDX-License-Identifier: BSD-2-Clause
"""Index words and queues together: what the host and the engines see, with a reset at any time."""

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring
from index_host import LAYOUTS, queue_id
from queue_models import DeviceModel, DriverModel
from streams import Bench, geometry

from hdl.queues.device_queues import DeviceQueues
from hdl.queues.driver_queues import DriverQueues
from hdl.queues.index_words import IndexWords

OWNED = {"driver": "tail", "device": "head"}
"""The index of each kind of queue that an engine owns."""


class Queues(Elaboratable):
    """The index words and the queues, connected as in the core."""

    def __init__(self, g):
        self.words = IndexWords(g)
        self.driver, self.device = DriverQueues(g), DeviceQueues(g)

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = self.words
        m.submodules.driver_queues = self.driver
        m.submodules.device_queues = self.device
        for queues, update, views in (
            (self.driver, words.driver, words.driver_tails),
            (self.device, words.device, words.device_heads),
        ):
            wiring.connect(m, update, queues.update)
            for view, port in zip(views, queues.views, strict=True):
                wiring.connect(m, view, port)
            m.d.comb += queues.clear.eq(words.clear)
        return m


class System:
    """A host and both engines.

    Attributes
    ----------
    advances : dict
        Items that each engine took.
    reads, resets : int
        Index words that the host read; resets.
    models : dict
        The queues by kind.
    """

    def __init__(self, bench, g):
        self._bench, self._g = bench, g
        self._capacity, n = g.layout.queue.capacity, g.num_fifos
        queue = g.layout.queue
        self._places = {
            g.word(base(fifo) + offset): (name, end, fifo)
            for name, base in (
                ("driver", g.layout.driver_queue_base),
                ("device", g.layout.device_queue_base),
            )
            for end, offset in (("head", queue.head_offset), ("tail", queue.tail_offset))
            for fifo in range(n)
        }
        self.models = {
            "driver": DriverModel(n, self._capacity),
            "device": DeviceModel(n, self._capacity),
        }
        # What the host reads, and the writes that take effect in the next cycle and in this one.
        self._words = dict.fromkeys(self._places.values(), 0)
        self._coming = self._lands = None
        self.advances, self.reads, self.resets = {"driver": 0, "device": 0}, 0, 0
        bench.process(self._run)

    def _owned(self, name):
        model = self.models[name]
        return model.tails if name == "driver" else model.heads

    def _write(self):
        """A host write of a word, near the indices of its queue."""
        rng, n = self._bench.rng, self._g.num_fifos
        name, fifo = rng.choice(["driver", "device"]), rng.randrange(n)
        end = rng.choice(["head", "tail", *(["head"] if name == "driver" else ["tail"]) * 4])
        near = self._owned(name)[fifo] + rng.choice([0, 1, 2, 3, rng.randrange(self._capacity)])
        data = rng.choice([near % self._capacity] * 5 + [rng.getrandbits(32)])
        return (name, end, fifo), data

    async def _run(self, ctx):
        bench, dut, rng = self._bench, self._bench.dut, self._bench.rng
        addresses = {place: address for address, place in self._places.items()}
        may_write, cleared = False, False
        expected = [None, None]
        while True:
            now = bench.cycle
            if expected[1] is not None:
                assert ctx.get(dut.words.read.data) == expected[1]
                self.reads += 1
            reset = not bench.ended and rng.random() < 0.01
            action = rng.choice(["write", "write", "read", "ring", "ring"])
            if bench.ended or bench.idles():
                action = "read"
            if not may_write and action != "read":
                action = None
            place, data = self._write()
            rings = rng.sample(range(self._g.num_fifos), rng.randint(1, self._g.num_fifos))
            rings = rings if action == "ring" else []
            ctx.set(dut.words.reset, reset)
            ctx.set(dut.words.write.enable, action == "write")
            ctx.set(dut.words.write.address, addresses[place])
            ctx.set(dut.words.write.data, data)
            ctx.set(dut.words.write.mask, 0xF)
            ctx.set(dut.driver.doorbell, sum(1 << fifo for fifo in rings))
            read = rng.choice([*addresses])
            ctx.set(dut.words.read.enable, 1)
            ctx.set(dut.words.read.address, addresses[read])
            reads = action == "read" and ctx.get(dut.words.read_ready) and not reset
            may_write = ctx.get(dut.words.write_ready)
            clears = ctx.get(dut.words.clear)
            counts, cleared = not clears and not cleared, not clears

            driver, device = self.models["driver"], self.models["device"]
            queues = dut.driver.engine
            if not clears:
                driver.check(now, ctx.get(queues.has_one), ctx.get(queues.has_two))
                queues = dut.device.engine
                found = (ctx.get(queues.has_one), ctx.get(queues.has_two))
                assert found == device.expected()
            advanced = {name: self._play(ctx, name, clears) for name in self.models}
            # A read sees the advances of the cycles before it.
            expected = [self._words[read] if reads else None, expected[0]]
            self._follow(now, rings, advanced)
            if action == "write":
                self._write_word(place, data)
            if reset:
                self._reset()
            if clears:
                driver.forget()
                device.clear()
            elif counts:
                device.cleared()
            await ctx.tick()

    def _play(self, ctx, name, clears):
        """The engine may take an item. Returns its FIFO."""
        bench, rng = self._bench, self._bench.rng
        queues = getattr(bench.dut, name).engine
        has_one = ctx.get(queues.has_one)
        fifo = rng.choice([each for each in range(self._g.num_fifos) if has_one >> each & 1] or [0])
        ctx.set(queues.fifo, fifo)
        ctx.set(queues.advance_fifo, fifo)
        held = self._lands is not None and self._lands[:2] == (name, OWNED[name])
        index = self._owned(name)[fifo]
        if not clears:
            assert ctx.get(queues.slot.index) == index
            assert ctx.get(queues.hold) == held
        # The engine is being reset too.
        advances = bool(has_one >> fifo & 1) and not (held or clears or bench.stalls())
        ctx.set(queues.advance, advances)
        ctx.set(queues.next_index, (index + 1) % self._capacity)
        self.advances[name] += advances
        return fifo if advances else None

    def _follow(self, now, rings, advanced):
        """What doorbells, engines, and writes that take effect mean for queues and host."""
        driver, device = self.models["driver"], self.models["device"]
        # A doorbell is sampled two cycles before the engine sees it; with one FIFO, one cycle.
        if self._g.num_fifos > 1:
            if self._coming is None or self._coming[0] != "driver":
                driver.select(now, 2)
        elif self._lands is None or self._lands[0] != "driver":
            driver.select(now, 1)
        for fifo in rings:
            driver.ring(fifo, now)
        if advanced["driver"] is not None:
            driver.advance(advanced["driver"])
        lands = self._lands
        update = lands[1:] if lands is not None and lands[0] == "device" else None
        device.step(update, advanced["device"])
        if lands is not None and lands[:2] == ("driver", "tail"):
            driver.rewrite(*lands[2:], now - 2)
        for name, fifo in advanced.items():
            # A host write in the two cycles before wins.
            place = (name, OWNED[name], fifo)
            if fifo is not None and place != (self._coming or ())[:3]:
                self._words[place] = self._owned(name)[fifo]
        self._lands, self._coming = self._coming, None

    def _write_word(self, place, data):
        name, end, fifo = place
        self._words[place] = data
        self._coming = (*place, data % self._capacity)
        if (name, end) == ("driver", "head"):
            self.models["driver"].write_head(fifo, data % self._capacity)

    def _reset(self):
        n = self._g.num_fifos
        self.resets += 1
        self._words = dict.fromkeys(self._words, 0)
        self._coming = self._lands = None
        self.models["driver"].clear()
        self.models["driver"].tails = [0] * n
        self.models["device"].heads, self.models["device"].tails = [0] * n, [0] * n


@pytest.mark.parametrize("fifos", [1, 3, 8])
@pytest.mark.parametrize("layout", LAYOUTS, ids=queue_id)
def test_host_and_engines_agree_on_every_index(fifos, layout):
    g = geometry(64, fifos, layout=layout)
    bench = Bench(Queues(g), "indices", fifos, layout.name, period=120)
    system = System(bench, g)
    bench.run(drain=fifos * layout.queue.capacity + 40)
    assert min(system.advances.values()) > 10
    assert system.reads > 50
    assert system.resets
    assert system.models["driver"].settled()
