# SPDX-License-Identifier: BSD-2-Clause
"""The core: its modules are connected. Messages, interrupts, reset, errors and counters."""

import pytest
from host import Device, Host
from streams import Bench, drive

from hdl.core import AmpPciCore
from hdl.errors import ERRORS
from models.endpoint import Endpoint
from models.layout import LAYOUTS, PAGE, SPSC_PAGES
from models.shell import AMP_PCI
from testbench.tlp import CplStatus, Tlp
from testbench.tlp.packets import completion

SHELL = AMP_PCI
NO_BAR = 7
BARS = {SHELL.register_bar: 0x1000_0000, SHELL.fifo_bar: 0x2000_0000, SHELL.msix_bar: 0x3000_0000}
COMPLETER, REQUESTER = 0x0100, 0x0108
CASES = [(64, 8, False), (128, 3, False), (256, 1, True), (512, 3, False)]


class CoreHost(Host):
    """Matches BARs as a hard block does."""

    def fields(self, tlp):
        bars = {address >> 28: bar for bar, address in self.bars.items()}
        return {"bar_id": bars.get(tlp.address >> 28, NO_BAR), "func_num": 0}


class CoreBench:
    """A core with settings, a host and a device side."""

    def __init__(self, name, width, fifos, dma, layout=SPSC_PAGES):
        self.dut = dut = AmpPciCore(num_fifos=fifos, data_width=width, dma=dma, layout=layout)
        self.bench = bench = Bench(dut, name, width, paces=((0, 0), (0.3, 0.3)), period=60)
        self.host = CoreHost(bench, dut.rx_req_tlp, BARS, shell=SHELL, layout=layout)
        self.device = Device(bench, dut)
        bench.sink(dut.tx_cpl_tlp, self.host.receive)
        writes = dut.tx_wr_req_tlp if dma else dut.tx_msix_wr_req_tlp
        bench.sink(writes, self.host.receive)
        self.pulses = {
            name: bench.count(getattr(dut, f"status_{name}"))
            for name in (*(cause.name for cause in ERRORS), "error_cor", "error_uncor")
        }
        self.host_resets = bench.count(dut.host_reset)

    def run(self, scenario):
        dut = self.dut

        async def bench(ctx):
            for name, value in (
                ("completer_id", COMPLETER),
                ("requester_id", REQUESTER),
                ("bus_master_enable", 1),
                ("msix_enable", 1),
                ("max_payload_size", 1),
            ):
                ctx.set(getattr(dut, name), value)
            await scenario(ctx)

        self.bench.scenario(bench)
        self.bench.run()

    async def counts(self, ctx):
        """Wait for the counters to follow, and return those that are not zero."""
        await ctx.tick().repeat(4)
        found = {}
        for name in dir(self.dut):
            if name.startswith("count_") and ctx.get(getattr(self.dut, name)):
                found[name.removeprefix("count_")] = ctx.get(getattr(self.dut, name))
        return found


@pytest.mark.parametrize("width, fifos, dma", CASES)
def test_messages_pass_both_ways(width, fifos, dma):
    core = CoreBench("messages", width, fifos, dma)
    host, device, fifo = core.host, core.device, fifos - 1
    rng = core.bench.rng

    async def scenario(ctx):
        version = await host.read(ctx, SHELL.register_bar, SHELL.version_offset)
        assert version.payload == SHELL.version.to_bytes(4, "little")
        assert version.completer_id == COMPLETER

        message = rng.randbytes(64)
        await host.post(ctx, fifo, message)
        assert await device.message(ctx) == (fifo, message)
        layout = host.layout
        base = layout.driver_queue_base(fifo)
        assert await host.value(ctx, SHELL.fifo_bar, base + layout.queue.tail_offset) == 1

        await host.program_vector(ctx, fifo, 0xFEE0_0000, 0x1234)
        answer = rng.randbytes(40)
        await device.send(ctx, fifo, answer)
        interrupt = await host.claim(ctx, lambda tlp: not tlp.is_completion)
        assert (interrupt.address, interrupt.requester_id) == (0xFEE0_0000, REQUESTER)
        assert interrupt.payload == (0x1234).to_bytes(4, "little")
        base = layout.device_queue_base(fifo)
        assert await host.value(ctx, SHELL.fifo_bar, base + layout.queue.head_offset) == 1
        slot = await host.read(ctx, SHELL.fifo_bar, base + layout.queue.slot_offset(0), 64)
        assert slot.payload == answer.ljust(64, b"\0")

        assert await core.counts(ctx) == {
            "doorbells": 1,
            "messages_to_device": 1,
            "messages_to_driver": 1,
            "interrupts_sent": 1,
        }

    core.run(scenario)
    assert not any(core.pulses.values())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
@pytest.mark.parametrize("width, fifos, dma", CASES[1:3])
def test_whole_fifo_bar_matches_the_golden_endpoint(width, fifos, dma, layout):
    """Writes to every page, its first words and some others, leave the message in its queue."""
    core = CoreBench("whole bar", width, fifos, dma, layout)
    golden = Endpoint(fifos, layout=layout)
    host, device, rng = core.host, core.device, core.bench.rng
    message, fifo = rng.randbytes(64), fifos - 1
    slot = layout.device_queue_base(fifo) + layout.queue.slot_offset(0)
    places = [
        (page + offset, size)
        for page in range(0, layout.size(fifos), PAGE)
        for offset, size in (
            (0, 68),
            (64 * rng.randrange(3, layout.queue.size // 64), 64),
            (64 * rng.randrange(3, PAGE // 64) + 4 * rng.randrange(8), 4 * rng.randint(1, 8)),
        )
        if not slot - size < page + offset < slot + 64
    ]

    async def scenario(ctx):
        await device.send(ctx, fifo, message)
        assert golden.push(fifo, message)
        head = layout.device_queue_base(fifo) + layout.queue.head_offset
        while not await host.value(ctx, SHELL.fifo_bar, head):
            pass
        for offset, size in rng.sample(places, len(places)):
            content = rng.randbytes(size)
            golden.bar_write(SHELL.fifo_bar, offset, content)
            await host.write(ctx, SHELL.fifo_bar, offset, content)
        for offset, size in [*rng.sample(places, len(places)), (slot, 64)]:
            found = await host.read(ctx, SHELL.fifo_bar, offset, size)
            expected = golden.bar_read(SHELL.fifo_bar, offset, size)
            assert found.payload == expected, f"{offset:#x}"
        assert found.payload == message

    core.run(scenario)
    assert not any(core.pulses.values())


@pytest.mark.parametrize("width, fifos, dma", CASES[2:3])
def test_function_reset_empties_the_queues(width, fifos, dma):
    core = CoreBench("reset", width, fifos, dma)
    host, device, dut, fifo = core.host, core.device, core.dut, fifos - 1

    async def scenario(ctx):
        await host.program_vector(ctx, fifo, 0xFEE0_0000, 0x1234)
        await host.post(ctx, fifo, bytes(64))
        await device.message(ctx)
        await device.send(ctx, fifo, bytes(64))
        await host.claim(ctx, lambda tlp: not tlp.is_completion)
        ctx.set(dut.function_reset, 1)
        await ctx.tick()
        assert not ctx.get(dut.function_reset_done)
        ctx.set(dut.function_reset, 0)
        await ctx.tick().until(dut.function_reset_done)
        queue = host.layout.queue
        for base in (host.layout.driver_queue_base(fifo), host.layout.device_queue_base(fifo)):
            for offset in (queue.head_offset, queue.tail_offset):
                assert await host.value(ctx, SHELL.fifo_bar, base + offset) == 0
        control = await host.value(ctx, SHELL.msix_bar, SHELL.msix_control(fifo))
        assert control == 1, "the vector is not masked"

    core.run(scenario)
    assert len(core.host_resets) == 1


@pytest.mark.parametrize("width, fifos, dma", CASES[:1])
def test_unsupported_requests_are_reported(width, fifos, dma):
    core = CoreBench("errors", width, fifos, dma)
    host = core.host
    host.bars = {**BARS, NO_BAR: 0x7000_0000}

    async def scenario(ctx):
        answer = await host.read(ctx, NO_BAR, 0)
        assert answer.status == CplStatus.UR
        await host.write(ctx, NO_BAR, 0, 0)
        # A read behind the write shows that it has been processed.
        await host.read(ctx, SHELL.register_bar, 0)
        assert await core.counts(ctx) == {"unsupported_requests": 2}

    core.run(scenario)
    found = {name: len(cycles) for name, cycles in core.pulses.items() if cycles}
    assert found == {
        "unsupported_posted": 1,
        "unsupported_non_posted": 1,
        "error_cor": 1,
        "error_uncor": 1,
    }


def test_dma_window_masters_the_bus():
    core = CoreBench("dma", 128, 1, True)
    host, dut, bench = core.host, core.dut, core.bench
    rng, axi = bench.rng, core.dut.s_axi_dma
    address = 0x1_2345_6780
    written, content = rng.randbytes(16), rng.randbytes(16)
    reads = []
    bench.sink(dut.tx_rd_req_tlp, lambda beat: reads.append(Tlp.unpack(beat["hdr"])))
    responses = bench.sink(axi.b)
    returned = bench.sink(axi.r)
    burst = {"id": 5, "addr": address, "len": 0, "size": 4, "burst": 1}

    async def put(ctx, stream, payload):
        drive(ctx, stream.p, payload, rng)
        ctx.set(stream.valid, 1)
        await ctx.tick().until(stream.ready)
        ctx.set(stream.valid, 0)

    async def scenario(ctx):
        await put(ctx, axi.aw, burst)
        word = {"data": int.from_bytes(written, "little"), "strb": 0xFFFF, "last": 1}
        await put(ctx, axi.w, word)
        write = await host.claim(ctx, lambda tlp: tlp.has_data)
        assert (write.address, write.payload) == (address, written)
        assert write.requester_id == REQUESTER
        await put(ctx, axi.ar, burst)
        while not reads:
            await ctx.tick()
        assert (reads[0].address, reads[0].length) == (address, 4)
        (beat,) = completion(reads[0], 0, content).beats(128)
        await put(ctx, dut.rx_cpl_tlp, {**beat, "error": 0})

    core.run(scenario)
    assert [(each["id"], each["resp"]) for each in responses] == [(5, 0)]
    assert [each["data"].to_bytes(16, "little") for each in returned] == [content]
    assert not any(core.pulses.values())
