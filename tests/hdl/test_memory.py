# SPDX-License-Identifier: BSD-2-Clause
"""The RAM of the FIFO BAR: the host and both engines at once, cycle by cycle."""

import pytest
from simulation import simulate
from streams import SIZES, drive, geometry, seeded

from hdl.queues.memory import FifoMemory
from models.layout import LAYOUTS, PAGE

CYCLES = 500
ANY = None
"""Data that the RAM leaves undefined: of a word that is written in the cycle of the read."""


class Model:
    """Words of the BAR, and the writes of the bank of the device queues that have not been made.

    Attributes
    ----------
    by_host : tuple or None
        The host's write, accepted in the cycle before.
    """

    def __init__(self, g):
        self._g = g
        self.words = {}
        self.by_host = None
        self._pushed = None

    def read(self, address):
        return self.words.get(address, 0)

    def is_ram(self, address):
        return self._g.layout.is_ram(address * self._g.word_bytes, self._g.num_fifos)

    def _merge(self, address, data, mask):
        if not self.is_ram(address):
            return
        content = bytearray(self.read(address).to_bytes(self._g.word_bytes, "little"))
        for byte in range(self._g.word_bytes):
            if mask >> byte & 1:
                content[byte] = data >> 8 * byte & 0xFF
        self.words[address] = int.from_bytes(content, "little")

    def step(self, *, write, to_device, pushed):
        """End a cycle: apply its writes. Returns their addresses.

        ``write`` is address, data and mask; ``pushed``, the same, is accepted in this cycle.
        """
        written = []
        if write is not None and not to_device:
            self._merge(*write)
            written.append(write[0])
        if self.by_host is not None:
            self._merge(*self.by_host)
            written.append(self.by_host[0])
        elif self._pushed is not None:
            address, data, mask = self._pushed
            self.words[address] = 0
            self._merge(address, data, mask)
            written.append(address)
            self._pushed = None
        if pushed is not None:
            assert self._pushed is None, "the former word has not been written"
            self._pushed = pushed
        self.by_host = write if to_device else None
        return written


def hidden(data, hides):
    return data if data is ANY or not hides else data >> 32 << 32


def bar_words(g, rng):
    """Few words of the FIFO BAR, so that accesses meet: of driver queues, device queues, the rest.

    The rest has the words of every other page that differ from a word of a queue in the page.
    """
    layout, fifos = g.layout, g.num_fifos
    bases = [
        [base(fifo) for fifo in range(fifos)]
        for base in (layout.driver_queue_base, layout.device_queue_base)
    ]
    driver, device = ([rng.choice(each) + 64 * n for n in range(3)] for each in bases)
    reserved = set(range(0, layout.size(fifos), PAGE)).difference(*bases)
    others = [page + rng.choice(driver + device) % PAGE for page in sorted(reserved)]
    return [[g.word(offset) for offset in offsets] for offsets in (driver, device, others)]


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("width, fifos", SIZES)
def test_host_and_engines_at_once(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    dut = FifoMemory(g)
    rng = seeded(width, layout.name)
    model = Model(g)
    driver, device, others = bar_words(g, rng)
    words = driver + device + others
    half = 1 << (layout.driver_queue ^ layout.device_queue).bit_length() - 1
    in_device_half = {
        word for word in words if (word * g.word_bytes ^ layout.device_queue) & half == 0
    }
    longest = 0
    compared = {"host": 0, "pop": 0}
    reserved = {"reads": 0, "writes": 0}

    def choose():
        return rng.choice(rng.choice([driver, device, others or driver]))

    async def bench(ctx):
        write_ready = True
        popped = ANY
        # Data of the reads of the last cycle and the one before it.
        reads = [0, 0]
        stalled = None
        nonlocal longest
        stalls = 0
        for now in range(CYCLES):
            if now % 50 == 0:
                host_rate, pop_rate, push_rate = (rng.choice([0.1, 0.5, 1]) for _ in range(3))
            expected = {"host": reads[1], "pop": popped}
            found = {"host": ctx.get(dut.host.read.data), "pop": ctx.get(dut.pop.data)}
            for name, data in expected.items():
                if data is not ANY:
                    compared[name] += 1
                    assert found[name] == data, name

            hides = rng.random() < 0.3
            ctx.set(dut.host.read_hides, hides)
            reads = [0, hidden(reads[0], hides)]
            writes = rng.random() < host_rate and rng.random() < 0.6 and write_ready
            reads_now = not writes and model.by_host is None and rng.random() < host_rate
            assert ctx.get(dut.host.read_ready) == (model.by_host is None)
            address = choose()
            write = (address, rng.getrandbits(width), rng.getrandbits(g.word_bytes))
            drive(ctx, dut.host.write.address, write[0], rng)
            ctx.set(dut.host.write.data, write[1])
            ctx.set(dut.host.write.mask, write[2])
            to_device = writes and model.is_ram(address) and address in in_device_half
            ctx.set(dut.host.write_to_device, to_device)
            to_driver = writes and model.is_ram(address) and address not in in_device_half
            ctx.set(dut.host.write_to_driver, to_driver)
            read_address = choose()
            ctx.set(dut.host.read.address, read_address)
            ctx.set(dut.host.read.enable, reads_now)

            pops, pop_address = rng.random() < pop_rate, rng.choice(driver)
            ctx.set(dut.pop.enable, pops)
            ctx.set(dut.pop.address, pop_address)

            if stalled is None and rng.random() < push_rate:
                push = (rng.choice(device), rng.getrandbits(width), rng.getrandbits(g.word_bytes))
            else:
                push = stalled
            ctx.set(dut.push.valid, push is not None)
            if push is not None:
                fields = dict(zip(("address", "data", "mask"), push, strict=True))
                drive(ctx, dut.push.p, fields, rng)
            push_ready = ctx.get(dut.push.ready)
            stalls = 0 if push_ready or push is None else stalls + 1
            assert stalls <= 2, "a push stalls for three cycles"
            longest = max(longest, stalls)
            write_ready = ctx.get(dut.host.write_ready)

            reserved["reads"] += reads_now and not model.is_ram(read_address)
            reserved["writes"] += writes and not model.is_ram(address)
            before = {place: model.read(place) for place in words}
            written = model.step(
                write=write if writes else None,
                to_device=to_device,
                pushed=push if push_ready else None,
            )
            stalled = None if push_ready else push
            if reads_now:
                reads[0] = ANY if read_address in written else before[read_address]
            if pops:
                popped = ANY if pop_address in written else before[pop_address]
            await ctx.tick()

    simulate(dut, bench)
    assert min(compared.values()) > CYCLES // 5
    assert longest
    if layout.reserved_reads_zero:
        assert min(reserved.values()) > CYCLES // 50
