# SPDX-License-Identifier: BSD-2-Clause
"""The device side's counters: each event counts once in its counter, and nothing else counts."""

import random
from collections import Counter

import cocotb

from models.counters import COUNTERS
from models.shell import AMP_PCI, MAX_FIFOS
from testbench.counters import CounterReader
from testbench.stream import pacing
from testbench.stream.axis import AxisMessage
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import completion, config_read, config_write, memory_read, memory_write
from tests.regressions.device_queue import drive_beats
from tests.regressions.dma_faults import expect_slverr
from tests.regressions.dma_host import DmaBench, Region
from tests.regressions.msix import MsixBench
from tests.regressions.queue_host import (
    QUEUE,
    SEED,
    expect_unsupported,
    set_bus_mastering,
    slot_bytes,
)

OUTSIDE = 0x1000
"""An address outside every BAR; the core gets ``bar_id`` 7, no match."""
NO_BAR = 7
DWORD = b"\xff" * 4


class CounterBench(DmaBench, MsixBench):
    """A bench with DMA, MSI-X and the counters."""

    async def start(self, **options):
        await super().start(**options)
        # Let the last host write take effect.
        await self.settle()
        self.counters = CounterReader(self.dut)

    async def expect_counts(self, **expected):
        """Check that exactly these counters advanced since the last call."""
        await self.settle()
        got = self.counters.increments()
        expected = {name: count for name, count in expected.items() if count}
        assert got == expected, f"counted {got} instead of {expected}, seed {SEED}"

    async def refuse(self, tlp):
        (answer,) = await self.host.request(tlp, bar=NO_BAR)
        assert answer.status == CplStatus.UR, f"{tlp} got {answer}"


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def counters_are_zero_after_reset(dut):
    """Counters have their declared width and are zero after ``rst`` and after an enumeration."""
    bench = CounterBench(dut)
    await bench.reset()
    for counter in COUNTERS:
        port = getattr(dut, counter.port)
        assert (int(port.value), len(port)) == (0, counter.bits), counter.name
    await bench.start()
    await bench.load(0x3000)
    await bench.store(0x3000, 5)
    assert not any(int(getattr(dut, counter.port).value) for counter in COUNTERS)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def doorbells_and_messages_to_device(dut):
    """A doorbell counts for each FIFO that it rings, a message when its last beat is accepted."""
    bench = CounterBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    bench.sink.pause()
    await bench.fill(0, range(3))
    await bench.expect_counts()
    await bench.ring(0)
    await bench.expect_counts(doorbells=1)
    bench.sink.resume()
    await bench.expect_counts(messages_to_device=3)
    # One write across all NOTIFY registers, including those of absent FIFOs.
    await bench.host.bar_write(AMP_PCI.register_bar, AMP_PCI.notify(0), bytes(4 * MAX_FIFOS))
    await bench.expect_counts(doorbells=fifos)
    base = bench.host.bars[AMP_PCI.register_bar]
    disabled_write = memory_write(base + AMP_PCI.notify(0), DWORD, first_be=0)
    await bench.host.send(disabled_write, bar=AMP_PCI.register_bar)
    await bench.host.bar_write(AMP_PCI.register_bar, AMP_PCI.version_offset, DWORD)
    if fifos < MAX_FIFOS:
        await bench.ring(fifos)
    await bench.expect_counts()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def messages_to_driver_and_interrupts(dut):
    """A message counts when head advances, its interrupt when it leaves or as held when masked."""
    bench = CounterBench(dut)
    await bench.start()
    last = bench.parameters.num_fifos - 1
    for number in range(3):
        await bench.send(last, number)
    await bench.expect_counts(messages_to_driver=3, interrupts_sent=3)
    switches = (
        (bench.mask(last, True), bench.mask(last, False)),
        (bench.control(enable=True, function_mask=True), bench.control(enable=True)),
        (bench.control(enable=False), bench.control(enable=True)),
        (bench.bus_master(False), bench.bus_master(True)),
    )
    for disable, enable in switches:
        await disable
        await bench.pending()
        for number in range(2):
            await bench.send(last, number)
        await bench.expect_counts(messages_to_driver=2, interrupts_held=2)
        await enable
        await bench.expect_counts(interrupts_sent=1)
    if last:
        await bench.mask(last, True)
        await bench.pending()
        await bench.send(0)
        await bench.expect_counts(messages_to_driver=1, interrupts_sent=1)
    # An interrupt that function-level reset discards counts as held and is never sent.
    await bench.mask(0, True)
    await bench.pending()
    await bench.send(0)
    await bench.function_reset()
    await bench.expect_counts(messages_to_driver=1, interrupts_held=1)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def malformed_packets(dut):
    """Invalid sizes, holes in ``tkeep`` and absent FIFOs count once for each packet."""
    bench = CounterBench(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    packets = [AxisMessage(0, bytes(size)) for size in (1, 7, 65, 128, 129, 300)]
    packets += [
        AxisMessage(fifo, bytes(size)) for fifo in range(fifos, MAX_FIFOS) for size in (7, 64, 65)
    ]
    for packet in packets:
        await bench.source.send(packet)
        await bench.expect_counts(malformed_packets=1)
    await drive_beats(bench, [0b1011_1111])
    await bench.expect_counts(malformed_packets=1)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def dropped_packets(dut):
    """A valid packet whose head the host or a reset rewrites meanwhile counts as dropped; a
    malformed one counts as malformed only."""
    bench = CounterBench(dut)
    await bench.start()
    # The beats are far enough apart for a whole reset, a read and a write, between two of them.
    # A packet of a single beat is not dropped: it waits.
    beats = QUEUE.slot_size * 8 // bench.parameters.data_width
    dropped = int(beats > 1)

    async def rewrite_head():
        await bench.store(bench.device(0, QUEUE.head_offset), 20)
        await bench.set_device_tail(0, 20)

    async def reset():
        await bench.function_reset()

    for rewrite in (rewrite_head, reset):
        for size in (QUEUE.slot_size, QUEUE.slot_size + 1):
            bench.source.set_idle(pacing.every([90]))
            bench.source.send_nowait(AxisMessage(0, slot_bytes(1).ljust(size, b"\0")))
            await bench.settle(100)
            await rewrite()
            await bench.source.drained()
            bench.source.set_idle(None)
            valid = size == QUEUE.slot_size
            await bench.expect_counts(
                dropped_packets=valid and dropped,
                malformed_packets=not valid,
                messages_to_driver=valid and not dropped,
                interrupts_sent=valid and not dropped,
            )
        # The hole is in the beat that fills the slot.
        full = (1 << bench.parameters.data_width // 8) - 1
        packet = cocotb.start_soon(
            drive_beats(bench, [full] * (beats - 1) + [full & ~2], apart=120)
        )
        await bench.settle(30)
        await rewrite()
        await packet
        await bench.expect_counts(malformed_packets=1)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def sanitised_indices(dut):
    """Each write after which an index is out of range counts, of one byte or of all four."""
    bench = CounterBench(dut)
    await bench.start()
    words = [
        queue(0, offset)
        for queue in (bench.driver, bench.device)
        for offset in (QUEUE.head_offset, QUEUE.tail_offset)
    ]
    for word in words:
        await bench.store(word, QUEUE.capacity - 1)
        await bench.expect_counts()
        await bench.store(word, QUEUE.capacity)
        await bench.expect_counts(sanitised_indices=1)
        await bench.store_bytes(word + 3, b"\1")
        await bench.expect_counts(sanitised_indices=1)
        await bench.store(word, 0)
        # The dword beside an index word is not an index.
        await bench.store(word + 4, 0xFFFF_FFFF)
        await bench.expect_counts()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def unsupported_requests(dut):
    """Unsupported requests count, with or without a completion; poisoned ones do not."""
    bench = CounterBench(dut)
    await bench.start()
    host = bench.host
    base = host.bars[AMP_PCI.fifo_bar] + 0x3000
    request = {"address": base, "length": 1, "first_be": 0xF}
    await bench.refuse(memory_read(OUTSIDE, 4))
    await bench.expect_counts(unsupported_requests=1)
    await host.send(memory_write(OUTSIDE, DWORD), bar=NO_BAR)
    await bench.expect_counts(unsupported_requests=1)
    for kind in (TlpKind.MRDLK32, TlpKind.IORD):
        await bench.refuse(Tlp(kind, **request))
        await bench.expect_counts(unsupported_requests=1)
    await host.send(memory_write(base, DWORD, ep=1), bar=AMP_PCI.fifo_bar)
    await bench.expect_counts()
    if bench.parameters.top == "endpoint":
        await expect_unsupported(bench, config_read(host.device_id | 1, 0))
        await bench.expect_counts(unsupported_requests=1)
        # A poisoned configuration write is recorded in configuration space only.
        await expect_unsupported(bench, config_write(host.device_id, 0x3C, 0, ep=True))
        await bench.expect_counts()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def unexpected_completions(dut):
    """A completion without an outstanding read counts."""
    bench = CounterBench(dut)
    await bench.start()
    host = bench.host
    for count, tag in enumerate((3, 31, 200), start=1):
        request = memory_read(OUTSIDE, 64, requester_id=host.device_id, tag=tag)
        for _ in range(count):
            host.complete_nowait(completion(request, host.requester_id, bytes(64)))
        await bench.expect_counts(unexpected_completions=count)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def dma_errors(dut):
    """Each failed read request and write burst counts, whether it left or not."""
    bench = CounterBench(dut, max_read_request_size=128)
    await bench.start()
    region = Region(bench.host.memory, 4096, random.Random(SEED))
    await region.fill()
    nowhere = 0x8000_0000
    await bench.dma.read(region.address, 256)
    await bench.dma.write(region.address, bytes(256))
    await bench.expect_counts()
    for size, requests in ((64, 1), (256, 2)):
        await expect_slverr(bench.dma.read(nowhere, size))
        await bench.expect_counts(dma_errors=requests)
    await set_bus_mastering(bench, False)
    await expect_slverr(bench.dma.read(region.address, 64))
    await expect_slverr(bench.dma.write(region.address, bytes(64)))
    await bench.expect_counts(dma_errors=2)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_reset_keeps_counters(dut):
    """Function-level reset clears no counter; ``rst`` clears them all."""
    bench = CounterBench(dut)
    await bench.start()
    await bench.fill(0, range(2))
    await bench.ring(0)
    await bench.send(0)
    await bench.source.send(AxisMessage(0, bytes(3)))
    await bench.settle()
    before = {counter.port: int(getattr(dut, counter.port).value) for counter in COUNTERS}
    assert sum(map(bool, before.values())) == 5
    await bench.function_reset()
    assert before == {port: int(getattr(dut, port).value) for port in before}
    await bench.reset()
    assert not any(int(getattr(dut, port).value) for port in before)
    await bench.finish()


class Workload:
    """Random steps of both sides, and the counts expected from them."""

    def __init__(self, bench, rng):
        self.bench = bench
        self.rng = rng
        self.fifos = bench.parameters.num_fifos
        self.expected = Counter()
        self.packets = 0
        self.reset_indices()

    def reset_indices(self):
        self.driver_heads = [0] * self.fifos
        self.device_heads = [0] * self.fifos
        self.may_send = [True] * self.fifos

    async def driver_side(self):
        """Messages and doorbells, out-of-range heads, unsupported requests, stray completions."""
        bench, rng, expected = self.bench, self.rng, self.expected
        for _ in range(rng.randrange(6)):
            fifo = rng.randrange(self.fifos)
            count = rng.randrange(5)
            index = await bench.fill(fifo, range(count), first=self.driver_heads[fifo])
            self.driver_heads[fifo] = index
            if rng.random() < 0.3:
                await bench.set_driver_head(fifo, index + QUEUE.capacity * rng.randint(1, 9))
                expected["sanitised_indices"] += 1
            for _ in range(rng.randint(1, 3)):
                await bench.ring(fifo)
                expected["doorbells"] += 1
            expected["messages_to_device"] += count
        for _ in range(rng.randrange(3)):
            expected["unsupported_requests"] += 1
            if rng.random() < 0.5:
                await bench.host.send(memory_write(OUTSIDE, DWORD), bar=NO_BAR)
            else:
                await bench.refuse(memory_read(OUTSIDE, 64))
        for _ in range(rng.randrange(3)):
            expected["unexpected_completions"] += 1
            request = memory_read(OUTSIDE, 4, requester_id=bench.host.device_id, tag=0x40)
            bench.host.complete_nowait(completion(request, bench.host.requester_id, DWORD))

    async def device_side(self):
        """Valid and malformed packets, too few to fill a queue in one round."""
        for _ in range(self.rng.randrange(10)):
            size = self.rng.choice([8, 30, 64, 64, 64, 3, 65, 200])
            fifo = self.rng.randrange(self.fifos if self.rng.random() < 0.8 else MAX_FIFOS)
            self.packets += 1
            if fifo < self.fifos and 8 <= size <= QUEUE.slot_size:
                self.expected["messages_to_driver"] += 1
                self.expected["interrupts_held"] += not self.may_send[fifo]
                self.device_heads[fifo] = QUEUE.next(self.device_heads[fifo])
            else:
                self.expected["malformed_packets"] += 1
            await self.bench.source.send(AxisMessage(fifo, bytes(size)))

    async def bus_master(self, region):
        """Accesses to present and absent host memory."""
        for _ in range(self.rng.randrange(4)):
            offset, size = 128 * self.rng.randrange(16), self.rng.randint(1, 128)
            if self.rng.random() < 0.3:
                self.expected["dma_errors"] += 1
                await expect_slverr(self.bench.dma.read(0x8000_0000 + offset, size))
            elif self.rng.random() < 0.5:
                await self.bench.dma.read(region.address + offset, size)
            else:
                await self.bench.dma.write(region.address + offset, bytes(size))

    async def flip_masks(self):
        """Toggle the masks of some vectors; return when they are in effect."""
        for fifo in range(self.fifos):
            if self.rng.random() < 0.3:
                self.may_send[fifo] = not self.may_send[fifo]
                await self.bench.mask(fifo, not self.may_send[fifo])
        await self.bench.pending()

    async def empty_device_queues(self):
        """Empty the device queues."""
        for fifo, head in enumerate(self.device_heads):
            assert await self.bench.device_head(fifo) == head
            await self.bench.set_device_tail(fifo, head)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def mixed_workload(dut):
    """A random workload of both sides with pauses on every stream: the counters match the model."""
    rng = random.Random(SEED)
    bench = CounterBench(
        dut,
        host_stall=pacing.randomly(rng.getrandbits(32), 0.3),
        device_idle=pacing.randomly(rng.getrandbits(32), 0.3),
        device_stall=pacing.randomly(rng.getrandbits(32), 0.3),
    )
    await bench.start()
    region = Region(bench.host.memory, 4096, rng)
    work = Workload(bench, rng)
    for _ in range(3):
        for _ in range(8):
            await work.flip_masks()
            tasks = [
                cocotb.start_soon(side)
                for side in (work.driver_side(), work.device_side(), work.bus_master(region))
            ]
            for task in tasks:
                await task
            await bench.settle(400)
            await work.empty_device_queues()
        await bench.settle(400)
        work.expected["interrupts_sent"] = sum(bench.host.interrupts.values())
        got = Counter({counter.name: int(getattr(dut, counter.port).value) for counter in COUNTERS})
        assert got == work.expected, f"counted {got} instead of {work.expected}, seed {SEED}"
        taken = bench.sink.pending
        assert taken == work.expected["messages_to_device"]

        # A reset among packets: the design decides which are delivered; the total is fixed.
        burst = rng.randint(1, 6)
        for number in range(burst):
            bench.source.send_nowait(AxisMessage(0, slot_bytes(number)))
        await bench.settle(rng.randrange(20))
        await bench.function_reset()
        await bench.source.drained()
        await bench.settle()
        increments = {
            name: int(getattr(dut, f"count_{name}").value) - work.expected[name]
            for name in ("messages_to_driver", "dropped_packets")
        }
        assert sum(increments.values()) == burst, f"{increments}, seed {SEED}"
        work.packets += burst
        work.expected.update(increments)
        work.expected["interrupts_held"] = int(dut.count_interrupts_held.value)
        for fifo in range(work.fifos):
            await bench.store(bench.device(fifo, QUEUE.head_offset), 0)
            await bench.set_device_tail(fifo, 0)
        work.reset_indices()
    total = sum(
        work.expected[name]
        for name in ("messages_to_driver", "malformed_packets", "dropped_packets")
    )
    assert total == work.packets
    await bench.finish()
