# SPDX-License-Identifier: BSD-2-Clause
"""The index words of all queues: host accesses, doorbells, engines and reset, cycle by cycle."""

import pytest
from amaranth.hdl import Value
from index_model import IndexModel, merged
from simulation import simulate
from streams import geometry, seeded

from hdl.queues.index_words import IndexWords
from hdl.queues.modulo import index_width
from models.layout import SMALL_PAGES, SPSC_PAGES

CYCLES = 400


class Model:
    """All index words, and the heads that doorbells sample.

    Attributes
    ----------
    words : dict
        An :class:`IndexModel` by name (``driver_head`` and so on) and FIFO.
    places : dict
        The key in ``words`` of each word address.
    doorbell_heads : list
        The head of each driver queue, for the engine.
    """

    def __init__(self, g):
        self._capacity = g.layout.queue.capacity
        self._fifos = g.num_fifos
        self.words, self.places = {}, {}
        queue = g.layout.queue
        for fifo in range(g.num_fifos):
            for kind, base in (
                ("driver", g.layout.driver_queue_base(fifo)),
                ("device", g.layout.device_queue_base(fifo)),
            ):
                for end, offset in (("head", queue.head_offset), ("tail", queue.tail_offset)):
                    self.words[f"{kind}_{end}", fifo] = IndexModel(self._capacity)
                    self.places[(base + offset) // g.word_bytes] = (f"{kind}_{end}", fifo)
        self.clear()

    def clear(self):
        for word in self.words.values():
            word.clear()
        self.doorbell_heads = [0] * self._fifos
        # Doorbells of the last two cycles, each with the head that it samples.
        self._doorbells = [{}, {}]

    def indices(self, name):
        return [self.words[name, fifo].index for fifo in range(self._fifos)]

    def rewritten(self, name):
        return [self.words[name, fifo].updates for fifo in range(self._fifos)]

    def step(self, *, reset, write, doorbells, advances):
        """A cycle; ``write`` is address, data and mask or None."""
        if reset:
            self.clear()
            return
        # A doorbell takes effect as late as a host write, so it samples all those before it.
        heads = {fifo: self.words["driver_head", fifo].word for fifo in doorbells}
        for fifo, head in self._doorbells[1].items():
            self.doorbell_heads[fifo] = head % self._capacity
        self._doorbells = [heads, self._doorbells[0]]
        for fifo in range(self._fifos):
            tail = self.words["driver_tail", fifo]
            if tail.updates:
                self.doorbell_heads[fifo] = tail.remainder
        for key, word in self.words.items():
            written = write[1:] if write and self.places.get(write[0]) == key else None
            word.step(write=written, advance=advances.get(key))


class Host:
    """Random accesses of the host: one per cycle, most of them to index words."""

    def __init__(self, g, model, rng):
        self._g, self._model, self._rng = g, model, rng

    def address(self):
        """An address at which the host may write: some have no index word."""
        word = self._rng.choice([*self._model.places])
        for bit in self._g.index_bits:
            if self._rng.random() < 0.02:
                word ^= 1 << bit
        return word

    def write(self):
        rng, capacity = self._rng, self._g.layout.queue.capacity
        small = rng.randrange(capacity + 2)
        data = rng.choice([small, small, 0, rng.getrandbits(32)])
        return self.address(), data, rng.choice([0xF, 0xF, 0xF, rng.getrandbits(4)])


def packed(values, width):
    return sum(value << width * place for place, value in enumerate(values))


@pytest.mark.parametrize(
    "width, fifos, layout",
    [(64, 1, SMALL_PAGES), (128, 3, SPSC_PAGES), (256, 8, SPSC_PAGES), (512, 1, SPSC_PAGES)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_host_engines_and_doorbells(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    dut = IndexWords(g)
    rng = seeded(width, layout.name)
    model = Model(g)
    host = Host(g, model, rng)
    bits = index_width(layout.queue.capacity)
    owned = ("driver_tail", "device_head")
    # Cycles of host writes beyond the capacity, of pulses that report them, and of resets.
    beyond, reported, resets = [], [], []

    def check_indices(ctx):
        for port, expected in (
            (dut.driver.head, model.doorbell_heads),
            (dut.driver.tail, model.indices("driver_tail")),
            (dut.device.head, model.indices("device_head")),
            (dut.device.tail, model.indices("device_tail")),
        ):
            assert ctx.get(Value.cast(port)) == packed(expected, bits)
        for port, name in ((dut.driver, owned[0]), (dut.device, owned[1])):
            assert ctx.get(port.rewritten) == packed(model.rewritten(name), 1)

    async def bench(ctx):
        read = before = None
        for now in range(CYCLES):
            check_indices(ctx)
            key = model.places.get(read)
            assert ctx.get(dut.read_hit) == (key is not None)
            found = ctx.get(dut.read.data)
            # Either value of a word that an engine advances in the cycle of the read.
            assert found in ((before, model.words[key].word) if key else (0,))
            if ctx.get(dut.sanitised):
                reported.append(now)

            reset = rng.random() < 0.01
            choice = rng.choice(["write", "write", "read", "read", "doorbell", "idle"])
            write = host.write() if choice == "write" else None
            read = host.address() if choice == "read" else None
            if choice == "read" and rng.random() < 0.2:
                read = rng.getrandbits(g.word_address_bits)
            before = model.words[model.places[read]].word if read in model.places else None
            doorbells = rng.sample(range(fifos), rng.randint(1, fifos)) * (choice == "doorbell")
            ctx.set(dut.write.enable, write is not None)
            address, data, mask = write or host.write()
            ctx.set(dut.write.address, address)
            ctx.set(dut.write.data, data)
            ctx.set(dut.write.mask, mask)
            ctx.set(dut.read.enable, read is not None)
            ctx.set(dut.read.address, host.address() if read is None else read)
            ctx.set(dut.doorbell, sum(1 << fifo for fifo in doorbells))
            ctx.set(dut.reset, reset)

            advances = {}
            for port, name in zip((dut.driver, dut.device), owned, strict=True):
                fifo = rng.randrange(fifos)
                # An engine does not advance an index that the host rewrites in this cycle.
                valid = rng.random() < 0.4 and not model.words[name, fifo].updates
                value = rng.randrange(layout.queue.capacity)
                ctx.set(port.advance, {"valid": valid, "fifo": fifo, "value": value})
                if valid:
                    advances[name, fifo] = value
            if write and write[0] in model.places:
                key = model.places[write[0]]
                if merged(model.words[key].word, *write[1:]) >= layout.queue.capacity:
                    beyond.append(now)
            if reset:
                resets.append(now)
            model.step(reset=reset, write=write, doorbells=doorbells, advances=advances)
            await ctx.tick()

    simulate(dut, bench)
    # A reset may or may not hide the report of a write shortly before it.
    hidden = sum(any(cycle <= reset <= cycle + 2 for reset in resets) for cycle in beyond)
    late = sum(cycle >= CYCLES - 2 for cycle in beyond)
    assert len(beyond) - hidden - late <= len(reported) <= len(beyond)
