# SPDX-License-Identifier: BSD-2-Clause
"""BAR accesses of every size, alignment and byte enable, against the golden endpoint."""

import random

import cocotb

from models.config_space import DEVICE_CONTROL, MAX_PAYLOAD_SIZE
from models.endpoint import Endpoint
from models.layout import PAGE
from models.shell import AMP_PCI, MSIX_ENTRY_SIZE
from testbench import pacing
from testbench.completions import read_data
from testbench.packets import memory_read, memory_write
from testbench.tlp import Kind
from tests.regressions.queue_host import SEED, QueueBench

PATTERNS = range(16)
"""Every byte-enable pattern of a dword, those with holes included."""


class Mirror(QueueBench):
    """A bench whose writes go to the golden endpoint too, and whose reads are compared with it."""

    async def start(self, **options):
        await super().start(msix=False, **options)
        self.golden = Endpoint(self.parameters.num_fifos)
        # The RAM keeps what an earlier test left; both start from the same.
        size = self.golden.bar_sizes[AMP_PCI.fifo_bar]
        for offset in range(0, size, 256):
            await self.host.bar_write(AMP_PCI.fifo_bar, offset, bytes(256))

    async def write(self, bar, offset, data, **fields):
        """A write request as ``fields`` change it; the golden endpoint takes what it enables."""
        tlp = memory_write(self.host.bars[bar] + offset, data, **fields)
        enables = [bool(tlp.first_be >> lane & 1) for lane in range(4)]
        if tlp.length > 1:
            enables += [True] * (4 * (tlp.length - 2))
            enables += [bool(tlp.last_be >> lane & 1) for lane in range(4)]
        self.golden.bar_write(bar, offset & ~3, tlp.payload, enables)
        await self.host.send(tlp, bar=bar)

    async def ask(self, bar, offset, size, **fields):
        """Send a read request; the result is what to compare, once it is there."""
        tlp = memory_read(
            self.host.bars[bar] + offset, size, requester_id=self.host.requester_id, **fields
        )
        pending = await self.host.requester.open(tlp)
        self.host.send_nowait(pending.request, bar=bar)
        return pending, bar, offset, size, self.golden.bar_read(bar, offset & ~3, 4 * tlp.length)

    async def compare(self, asked):
        """Wait for the answer and compare the bytes that were asked for; returns completions."""
        pending, bar, offset, size, want = asked
        answers = await pending.answers()
        got = read_data(pending.request, size, answers)
        want = want[offset & 3 :][:size]
        assert got == want, f"BAR{bar}+{offset:#x}, {size}: {got.hex()} is not {want.hex()}"
        return answers

    async def read(self, bar, offset, size, **fields):
        return await self.compare(await self.ask(bar, offset, size, **fields))

    async def set_max_payload(self, code):
        if self.parameters.top == "core":
            self.host.set_pins(max_payload_size=code)
            self.monitor.max_payload_size = 128 << code
        else:
            control = await self.host.config_read(DEVICE_CONTROL, 2)
            control = control & ~MAX_PAYLOAD_SIZE.mask | code << MAX_PAYLOAD_SIZE.lsb
            await self.host.config_write(DEVICE_CONTROL, control, 2)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def sizes_and_alignments(dut):
    """Writes and reads of 1 to 72 bytes at every offset within 64."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for offset in range(64):
        base = 0x3000 + 0x100 * (offset % 8)
        for size in rng.sample(range(1, 73), 6):
            await bench.write(AMP_PCI.fifo_bar, base + offset, rng.randbytes(size))
            await bench.read(AMP_PCI.fifo_bar, base + offset, size)
        # Nothing beside what was written changed.
        await bench.read(AMP_PCI.fifo_bar, base, 0x100)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def byte_enable_patterns(dut):
    """Every pattern in the first dword and in the last, in 1, 2 and 5 dwords, at every lane."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    area = 0x3400
    for first in PATTERNS:
        # A single dword, holes and the zero-length write included.
        await bench.write(AMP_PCI.fifo_bar, area, rng.randbytes(4), first_be=first)
        await bench.read(AMP_PCI.fifo_bar, area, 4)
        for last in PATTERNS:
            for dwords in (2, 5):
                offset = area + 4 * rng.randrange(16)
                data = rng.randbytes(4 * dwords)
                await bench.write(AMP_PCI.fifo_bar, offset, data, first_be=first, last_be=last)
        await bench.read(AMP_PCI.fifo_bar, area, 256)
    for first in PATTERNS[1:]:
        for last in PATTERNS[1:]:
            # What is not enabled may read anything; the monitor checks byte count and address.
            offset, dwords = area + 4 * rng.randrange(16), rng.choice((2, 5))
            low, high = byte_span(first, last, dwords)
            await bench.read(
                AMP_PCI.fifo_bar,
                offset + low,
                high - low,
                first_be=first,
                last_be=last,
                length=dwords,
            )
    await bench.finish()


def byte_span(first, last, dwords):
    """Offsets of the first enabled byte and past the last one."""
    low = (first & -first).bit_length() - 1
    return low, 4 * dwords - 4 + last.bit_length()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def zero_length_requests(dut):
    """A zero-length read is answered with a dword, a zero-length write does nothing."""
    bench = Mirror(dut)
    await bench.start()
    for bar in (AMP_PCI.register_bar, AMP_PCI.fifo_bar, AMP_PCI.msix_bar):
        for offset in (0, 4, 0x20, 0x7FC):
            await bench.write(bar, offset, b"\xff" * 4, first_be=0)
            (answer,) = await bench.read(bar, offset, 0)
            assert (answer.length, answer.byte_count) == (1, 1)
            await bench.read(bar, offset, 4)
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def completions_are_split(dut):
    """Reads up to 4 KiB at any alignment, for every maximum payload size."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for offset in range(0, PAGE, 256):
        await bench.write(AMP_PCI.fifo_bar, 0x3000 + offset, rng.randbytes(256))
    for code in range(6):
        payload = 128 << code
        await bench.set_max_payload(code)
        assert len(await bench.read(AMP_PCI.fifo_bar, 0x3000, PAGE)) == PAGE // payload
        for _ in range(10):
            offset = rng.randrange(PAGE)
            size = rng.randint(1, PAGE - offset)
            answers = await bench.read(AMP_PCI.fifo_bar, 0x3000 + offset, size)
            assert all(4 * answer.length <= payload for answer in answers)
            end = offset + size
            assert len(answers) == (end - 1) // payload - offset // payload + 1
    await bench.set_max_payload(0)
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def long_writes(dut):
    """Writes up to 4 KiB, starting at every lane."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for lane in range(bench.parameters.data_width // 32 + 1):
        for size in (128, 256, 1024, PAGE):
            offset = 0x3000 + 4 * lane
            data = rng.randbytes(min(size, PAGE - 4 * lane))
            await bench.write(AMP_PCI.fifo_bar, offset, data)
        await bench.read(AMP_PCI.fifo_bar, 0x3000, PAGE)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def long_headers(dut):
    """Four-dword headers mean the same below 4 GiB."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for offset in range(0x3000, 0x3100, 20):
        data = rng.randbytes(20)
        await bench.write(AMP_PCI.fifo_bar, offset, data, kind=Kind.MWR64)
        await bench.read(AMP_PCI.fifo_bar, offset, 20)
        await bench.read(AMP_PCI.fifo_bar, offset, 20, kind=Kind.MRD64)
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def registers_and_doorbells(dut):
    """BAR0 reads what it should; any write that enables a byte of a NOTIFY rings that FIFO."""
    bench = Mirror(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    rings = [0] * fifos

    async def count():
        while True:
            await dut.clk.rising_edge
            pulses = int(dut.doorbell.value)
            for fifo in range(fifos):
                rings[fifo] += pulses >> fifo & 1

    counter = cocotb.start_soon(count())
    await bench.read(AMP_PCI.register_bar, 0, 256)
    await bench.read(AMP_PCI.register_bar, 0, 4)

    want = [0] * fifos
    writes = [(offset, size) for offset in range(0, 0x50, 3) for size in (1, 2, 4, 8, 64)]
    writes += [(AMP_PCI.notify(fifo), 4) for fifo in range(8)]
    writes += [(AMP_PCI.notify(0), 8), (AMP_PCI.notify(0), 32), (0x3FF8, 8)]
    for offset, size in writes:
        await bench.write(AMP_PCI.register_bar, offset, bytes(range(size)))
        for fifo in range(fifos):
            first = AMP_PCI.notify(fifo)
            want[fifo] += offset < first + 4 and offset + size > first
    for pattern in PATTERNS:
        await bench.write(AMP_PCI.register_bar, AMP_PCI.notify(0), bytes(4), first_be=pattern)
        want[0] += pattern != 0
    await bench.settle()
    assert rings == want
    await bench.read(AMP_PCI.register_bar, 0, 256)
    counter.cancel()
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def msix_table(dut):
    """The table takes byte enables; control bits but the mask, pending bits and the rest do not."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    size = bench.parameters.num_fifos * MSIX_ENTRY_SIZE
    await bench.read(AMP_PCI.msix_bar, 0, 256)
    for _ in range(60):
        offset = rng.randrange(0, size)
        await bench.write(AMP_PCI.msix_bar, offset, rng.randbytes(rng.randint(1, 24)))
        await bench.read(AMP_PCI.msix_bar, 0, 256)
    await bench.write(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, b"\xff" * 16)
    await bench.read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 64)
    await bench.read(AMP_PCI.msix_bar, 0xF00, 256)
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def index_words(dut):
    """Index words are RAM like any other to the host, whatever it writes into them."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for fifo in range(bench.parameters.num_fifos):
        for queue in (bench.driver(fifo, 0), bench.device(fifo, 0)):
            for offset in (0, 64):
                for pattern in PATTERNS:
                    data = rng.randbytes(4)
                    await bench.write(AMP_PCI.fifo_bar, queue + offset, data, first_be=pattern)
                    await bench.read(AMP_PCI.fifo_bar, queue + offset, 4)
            # One write over both words and a slot.
            await bench.write(AMP_PCI.fifo_bar, queue + 1, rng.randbytes(200))
            await bench.read(AMP_PCI.fifo_bar, queue, 256)
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def random_accesses(dut):
    """Hundreds of accesses to all BARs, several reads under way, pauses on both streams."""
    rng = random.Random(SEED)
    bench = Mirror(
        dut,
        host_idle=pacing.randomly(rng.getrandbits(32), 0.3),
        host_stall=pacing.randomly(rng.getrandbits(32), 0.5),
    )
    await bench.start()
    asked = []
    for _ in range(400):
        bar = rng.choice([0, 1, 1, 1, 1, 2])
        limit = bench.golden.bar_sizes[bar]
        # Where something is: the first words of a queue, of the table, of the pending bits.
        interesting = [0, 0x1000, 0x2000, 0x3000, 0x800, limit - 256]
        offset = min(rng.choice(interesting) + rng.randrange(256), limit - 1)
        size = min(rng.choice([1, 2, 3, 4, 5, 8, 16, 33, 64, 100, 200]), PAGE - offset % PAGE)
        if rng.random() < 0.5:
            # A read that is under way may see a write that comes after it.
            while asked:
                await bench.compare(asked.pop(0))
            # No doorbells: the golden endpoint's device side is not at work here.
            if bar != AMP_PCI.register_bar or offset + size <= AMP_PCI.notify_offset:
                await bench.write(bar, offset, rng.randbytes(size))
        else:
            asked.append(await bench.ask(bar, offset, size))
    while asked:
        await bench.compare(asked.pop(0))
    await bench.expect_nothing()
    await bench.finish()
