# SPDX-License-Identifier: BSD-2-Clause
"""Settings lowered under load are in effect from the completion of the configuration write.

The monitor checks each TLP against the settings in effect as it leaves. Behind a hard block the
pins change, and are in effect once the core asserts ``status_config_settled``.
"""

import os
import random
from itertools import repeat

import cocotb

from models import config_space as space
from models.dma import DmaError
from models.layout import PAGE
from models.shell import AMP_PCI
from testbench.host.requester import CompletionError
from testbench.stream import pacing
from testbench.tlp import MEMORY_READS, MEMORY_WRITES, CplStatus
from testbench.tlp.packets import config_write, memory_read
from tests.regressions.dma_host import (
    SEED,
    DmaBench,
    Region,
    Writer,
    channel_pauses,
    slow_latencies,
)
from tests.regressions.queue_host import QUEUE, set_bus_mastering, set_pins, set_sizes, slot_bytes

ROUNDS = int(os.environ.get("ROUNDS", "2"))
"""Rounds for each setting, times a number of its own. ``make regress`` runs more."""
STATIC = 0x3000
"""A page of the FIFO BAR that no queue uses."""
AREA = 4 * PAGE
LARGEST_REQUEST = 2
"""Code of the longest request of the window: 512 bytes."""


class SentTlps:
    """Records the TLPs that the design sends, in order, and passes them on to the monitor."""

    def __init__(self, bench):
        self._bench = bench
        self._monitor_sent = bench.monitor.design_sent
        bench.monitor.design_sent = self._sent
        self.sent = []

    def clear(self):
        self.sent.clear()

    async def until(self, condition):
        """Clear the record, then wait until ``condition`` is true of it."""
        self.clear()
        for _ in range(2000):
            if condition(self):
                break
            await self._bench.settle(5)
        assert condition(self), "too little load"

    @property
    def completions(self):
        """Payload bytes of each completion."""
        return [len(tlp.payload) for tlp in self.sent if tlp.is_completion]

    @property
    def writes(self):
        """Payload bytes of each write."""
        return [len(tlp.payload) for tlp in self.sent if tlp.kind in MEMORY_WRITES]

    @property
    def reads(self):
        """Bytes that each read requests."""
        return [4 * tlp.length for tlp in self.sent if tlp.kind in MEMORY_READS]

    def _sent(self, tlp):
        self.sent.append(tlp)
        self._monitor_sent(tlp)


class Load:
    """Reads and writes of host memory, reads of a BAR, and messages with their interrupts.

    An access that fails while the host forbids it is repeated until :meth:`stop`.
    """

    def __init__(self, bench, rng):
        self.bench = bench
        self.rng = rng
        self.refused = self.failed = 0
        self.running = True
        self._source = Region(bench.host.memory, AREA, rng)
        self._sinks = [Region(bench.host.memory, PAGE, rng) for _ in range(3)]
        self._static = rng.randbytes(PAGE)
        self._tasks = []

    async def prepare(self):
        for region in (self._source, *self._sinks):
            await region.fill()
        await self.bench.store_bytes(STATIC, self._static)

    def start(self):
        self.running = True
        workers = [self._read, self._read, self._bar_reads, self._messages]
        workers += [lambda sink=sink: self._write(sink) for sink in self._sinks]
        self._tasks = [cocotb.start_soon(worker()) for worker in workers]

    async def stop(self):
        self.running = False
        for task in self._tasks:
            await task
        # A write is answered when it leaves; the host may take longer to store it.
        await self.bench.settle(100)
        for sink in self._sinks:
            await sink.check()

    async def _read(self):
        region = self._source
        while self.running:
            offset, size = region.span(self.rng, 3000)
            try:
                got = await self.bench.dma.read(region.address + offset, size)
            except DmaError:
                await self._back_off()
                continue
            assert got == region.bytes[offset : offset + size], f"{size} bytes at {offset:#x}"

    async def _write(self, region):
        while self.running:
            offset, size = region.span(self.rng, 1500)
            data = self.rng.randbytes(size)
            # A failed write may have reached the host in part: repeat it.
            while not await self._written(region.address + offset, data):
                pass
            region.bytes[offset : offset + size] = data

    async def _written(self, address, data):
        try:
            await self.bench.dma.write(address, data)
        except DmaError:
            await self._back_off()
            return False
        return True

    async def _back_off(self):
        self.failed += 1
        await self.bench.settle(20)

    async def _bar_reads(self):
        bench = self.bench
        while self.running:
            reads = []
            for _ in range(8):
                size = self.rng.choice((4, 64, 700, PAGE))
                offset = self.rng.randrange(PAGE - size + 1)
                access = bench.host.bar_read(AMP_PCI.fifo_bar, STATIC + offset, size)
                reads.append((offset, size, cocotb.start_soon(self._unless_refused(access))))
            for offset, size, task in reads:
                got = await task
                assert got is None or got == self._static[offset : offset + size]
            await bench.settle(self.rng.randrange(40))

    async def _unless_refused(self, access):
        try:
            return await access
        except CompletionError as error:
            assert error.status == CplStatus.UR, error
            self.refused += 1

    async def _messages(self):
        bench = self.bench
        tail = bench.device(0, QUEUE.tail_offset)
        head = 0
        while self.running:
            await bench.source.send_message(0, slot_bytes(head))
            head = QUEUE.next(head)
            # The host takes all messages, with or without an interrupt.
            try:
                await bench.store(tail, await bench.load(bench.device(0, QUEUE.head_offset)))
            except CompletionError:
                self.refused += 1
            await bench.settle(5)


async def open_loaded_bench(dut, rng):
    """A bench with load whose host sends payloads of at most 128 bytes."""
    bench = DmaBench(
        dut,
        max_payload_size=128,
        max_read_request_size=PAGE,
        timeout_us=1000,
        memory_options={"latency": slow_latencies(rng, shortest_ns=100, longest_ns=1500, tail=0)},
        dma_options={"pauses": channel_pauses(rng, 0.2)},
    )
    await bench.start()
    for sink in bench.host.sinks.values():
        sink.set_stall(pacing.randomly(rng.getrandbits(32), 0.3))
    load = Load(bench, rng)
    await load.prepare()
    return bench, load


async def check_lowered_size(bench, rng, sent_tlps, size, high, low, kinds):
    """Lower a size while TLPs of ``kinds`` are longer; none leaves after the completion."""
    limit = space.coded_size(low)
    await set_sizes(bench, **{size: high})
    for kind in kinds:
        await sent_tlps.until(lambda sent, kind=kind: max(getattr(sent, kind), default=0) > limit)
    await set_sizes(bench, **{size: low})
    sent_tlps.clear()
    await bench.settle(rng.randrange(rng.choice((5, 400))))
    for kind in kinds:
        sent = getattr(sent_tlps, kind)
        assert all(length <= limit for length in sent), f"{sent} above {limit}, seed {SEED}"


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def max_payload_size_lowered_under_load(dut):
    """Completions and writes of the former size leave before the completion, or are split again."""
    rng = random.Random(SEED)
    bench, load = await open_loaded_bench(dut, rng)
    sent_tlps = SentTlps(bench)
    load.start()
    for _ in range(2 * ROUNDS):
        high = rng.randint(1, 5)
        low = rng.randrange(min(high, LARGEST_REQUEST))
        await check_lowered_size(
            bench, rng, sent_tlps, "payload", high, low, ("completions", "writes")
        )
    await load.stop()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def max_read_request_size_lowered_under_load(dut):
    """A valid read of the former size leaves before the completion; others are split again."""
    rng = random.Random(SEED)
    bench, load = await open_loaded_bench(dut, rng)
    sent_tlps = SentTlps(bench)
    load.start()
    for _ in range(3 * ROUNDS):
        low = rng.randrange(LARGEST_REQUEST)
        high = rng.choice((LARGEST_REQUEST, 5))
        await check_lowered_size(bench, rng, sent_tlps, "read_request", high, low, ("reads",))
    await load.stop()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def no_request_leaves_after_bus_mastering_is_disabled(dut):
    """No read, write or interrupt leaves after the completion that disables bus mastering, by
    Bus Master Enable or D3hot."""
    rng = random.Random(SEED)
    bench, load = await open_loaded_bench(dut, rng)
    core = bench.parameters.top == "core"

    async def set_power(on):
        state = space.POWER_D0 if on else space.POWER_D3HOT
        await bench.host.config_write(space.POWER_STATE.offset, state)

    async def set_bus_master(on):
        await set_bus_mastering(bench, on)

    load.start()
    for number in range(3 * ROUNDS):
        switch = set_power if number % 2 and not core else set_bus_master
        requests = bench.monitor.requests
        while bench.monitor.requests < requests + 4:
            await bench.settle(rng.randint(1, 10))
        await switch(False)
        # The monitor checks the same; its count shows that no request left.
        requests = bench.monitor.requests
        await bench.settle(rng.randrange(rng.choice((10, 200))))
        assert bench.monitor.requests == requests
        await switch(True)
    assert load.failed, "too little load"
    await load.stop()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def no_interrupt_leaves_after_msix_is_disabled(dut):
    """After the write of MSI-X Enable or Function Mask completes, no interrupt leaves."""
    rng = random.Random(SEED)
    bench, load = await open_loaded_bench(dut, rng)
    core = bench.parameters.top == "core"

    async def control(enable, mask):
        if core:
            await set_pins(bench, msix_enable=enable, msix_mask=mask)
        else:
            await bench.host.set_msix_control(enable=enable, mask=mask)

    load.start()
    for number in range(2 * ROUNDS):
        before = dict(bench.host.interrupts)
        while bench.host.interrupts == before:
            await bench.settle(rng.randint(1, 20))
        await bench.settle(rng.randrange(30))
        await control(enable=number % 2, mask=1)
        before = dict(bench.host.interrupts)
        await bench.settle(100)
        assert bench.host.interrupts == before
        await control(enable=1, mask=0)
    await load.stop()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reads_after_memory_space_is_disabled_are_refused(dut):
    """Reads before the write are answered before its completion, later ones are refused."""
    rng = random.Random(SEED)
    bench = DmaBench(dut, max_payload_size=128)
    await bench.start()
    host = bench.host
    if bench.parameters.top == "core":
        # A hard block matches the BARs itself and forwards no such request.
        return
    sent_tlps = SentTlps(bench)
    control = await host.config_read(space.INITIATE_FLR.offset, 2) | space.INITIATE_FLR.mask
    writes = (
        config_write(host.device_id, space.COMMAND, space.BUS_MASTER_ENABLE.mask, 0x3),
        config_write(host.device_id, space.INITIATE_FLR.offset, control, 0x3),
        config_write(host.device_id, space.POWER_STATE.offset, space.POWER_D3HOT, 0x1),
    )
    for number in range(6 * ROUNDS):
        if rng.random() < 0.5:
            host.sink.pause()
        sent_tlps.clear()
        pending = []
        for count, write in ((rng.randint(1, 7), True), (rng.randint(1, 4), False)):
            requests = [
                memory_read(host.bars[AMP_PCI.fifo_bar] + STATIC, rng.choice((4, 64, 1000, PAGE)))
                for _ in range(count)
            ]
            requests += [writes[number % 3]] * write
            for request in requests:
                pending.append(await host.requester.open(request))
                host.send_nowait(pending[-1].request)
            if write:
                config_write_index = len(pending) - 1
        await bench.settle(rng.randrange(100))
        host.sink.resume()
        answers = [await pending_request.answers() for pending_request in pending]
        statuses = [{answer.status for answer in pieces} for pieces in answers]
        assert statuses[: config_write_index + 1] == [{CplStatus.SC}] * (config_write_index + 1), (
            statuses
        )
        assert statuses[config_write_index + 1 :] == [{CplStatus.UR}] * (
            len(pending) - config_write_index - 1
        ), statuses
        order = [tlp.tag for tlp in sent_tlps.sent]
        completed = order.index(pending[config_write_index].request.tag)
        served_tags = {
            pending_request.request.tag for pending_request in pending[:config_write_index]
        }
        assert not served_tags & set(order[completed:]), f"read answered too late, seed {SEED}"
        await bench.settle(20)
        await host.config_write(space.POWER_STATE.offset, space.POWER_D0)
        await host.restore()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def completion_does_not_wait_for_reads_or_write_data(dut):
    """A configuration write completes while every tag waits for an answer and a burst for data."""
    rng = random.Random(SEED)
    latency = 20_000.0
    bench = DmaBench(dut, max_payload_size=128, memory_options={"latency": repeat(latency)})
    await bench.start()
    region = Region(bench.host.memory, AREA, rng)
    await region.fill()
    await set_sizes(bench, payload=5, read_request=5)
    start_time = bench.time_ns
    writer = Writer(dut)
    data = rng.randbytes(1024)
    await writer.begin_write(region.address, len(data) // writer.lanes)
    await writer.send_beats(data[:384], ends=False)
    for number in range(12):
        await writer.begin_read(region.address + 2048 * (number % 8), 2048)
    await bench.settle(400)
    assert bench.monitor.traffic.reads == 32
    for codes in ({"payload": 0}, {"read_request": 0}):
        await set_sizes(bench, **codes)
    await set_bus_mastering(bench, False)
    assert bench.time_ns < start_time + latency, "the writes waited for the reads"
    await set_bus_mastering(bench, True)
    await writer.send_beats(data[384:])
    await bench.settle(20_000)
    assert bench.monitor.traffic.reads > 32
    await bench.finish()
