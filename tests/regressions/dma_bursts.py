# SPDX-License-Identifier: BSD-2-Clause
"""Bursts of every shape at the window: narrow, unaligned, with holes, and unsupported ones."""

import random

import cocotb
from cocotbext.axi import AxiBurstType, AxiResp

from testbench.axi.channels import AxiChannels
from testbench.host.read_completions import Split
from tests.regressions.dma_host import ABOVE_4G, SEED, DmaBench, Region, slow_latencies

PAGE = 4096


def beat_span(address, beat, size, lanes):
    """First and last address of the bytes that a beat covers (AXI4 A3.4.1)."""
    aligned = address & -(1 << size)
    first = address if beat == 0 else aligned + (beat << size)
    return first, aligned + (beat << size) + (1 << size) - 1


def some_strobes(rng, lanes):
    full = (1 << lanes) - 1
    return rng.choice(
        [full, full, full, 0, rng.getrandbits(lanes), full & ~(1 << rng.randrange(lanes))]
    )


def random_burst(rng, region, lanes):
    """Address, size and number of beats of a random supported burst."""
    size = rng.randrange(lanes.bit_length())
    address = region.address + rng.randrange(region.size)
    if rng.random() < 0.5:
        address &= -lanes
    remaining = PAGE - (address & (PAGE - 1) & -(1 << size))
    beats = rng.randint(1, min(rng.choice([1, 4, 20, 256]), remaining >> size))
    return address, size, beats


async def open_window(dut, rng, **options):
    bench = DmaBench(
        dut,
        memory_options={
            "latency": slow_latencies(rng, tail=0),
            "split": Split.RANDOM,
            "seed": SEED,
        },
        **options,
    )
    await bench.start()
    region = Region(bench.host.memory, 2 * PAGE, rng, base=rng.choice([None, ABOVE_4G]))
    await region.fill()
    return bench, AxiChannels(dut), region


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_address_bit_reaches_the_host(dut):
    """Every address bit reaches the host, for writes and reads."""
    rng = random.Random(SEED)
    bench = DmaBench(dut)
    await bench.start()
    bases = [1 << bit for bit in range(33, 64, 3)] + [1 << 62, 1 << 63, (1 << 64) - PAGE]
    regions = [Region(bench.host.memory, PAGE, rng, base=base) for base in sorted(set(bases))]
    for region in regions:
        await region.fill()
        data = rng.randbytes(100)
        await bench.dma.write(region.address + PAGE - 100, data)
        region.bytes[-100:] = data
    for region in regions:
        got = await bench.dma.read(region.address + PAGE - 300, 300)
        assert got == region.bytes[-300:], f"{region.address:#x}"
        await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def only_strobed_bytes_are_written(dut):
    """A burst writes exactly the strobed bytes of its lanes; strobes of other lanes are ignored."""
    rng = random.Random(SEED)
    bench, channels, region = await open_window(
        dut, rng, max_payload_size=rng.choice([128, 256, 512])
    )
    lanes = channels.lanes
    for _ in range(60):
        address, size, count = random_burst(rng, region, lanes)
        beats = [(rng.getrandbits(8 * lanes), some_strobes(rng, lanes)) for _ in range(count)]
        answer = await channels.write(address, beats, size=size, transfer_id=rng.randrange(256))
        assert answer.responses == [AxiResp.OKAY]
        for number, (data, strobes) in enumerate(beats):
            first, last = beat_span(address, number, size, lanes)
            for at in range(first, last + 1):
                lane = at % lanes
                if strobes >> lane & 1:
                    region.bytes[at - region.address] = data >> 8 * lane & 0xFF
    await bench.settle()
    await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def read_beats_have_their_bytes_on_their_lanes(dut):
    """Every beat returns its bytes on their own lanes."""
    rng = random.Random(SEED)
    bench, channels, region = await open_window(
        dut, rng, max_read_request_size=rng.choice([128, 256, 512])
    )
    lanes = channels.lanes
    for _ in range(60):
        address, size, count = random_burst(rng, region, lanes)
        answer = await channels.read(address, count, size=size, transfer_id=rng.randrange(256))
        assert answer.responses == [AxiResp.OKAY] * count and len(answer.beats) == count
        for number, data in enumerate(answer.beats):
            first, last = beat_span(address, number, size, lanes)
            for at in range(first, last + 1):
                assert data >> 8 * (at % lanes) & 0xFF == region.bytes[at - region.address]
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def unsupported_bursts_get_slverr(dut):
    """An unsupported burst gets SLVERR, sends no TLP, and the next burst works."""
    rng = random.Random(SEED)
    bench, channels, region = await open_window(dut, rng)
    lanes, page = channels.lanes, region.address
    width = lanes.bit_length() - 1
    unsupported = [
        {"address": page, "count": 4, "burst": AxiBurstType.WRAP},
        {"address": page, "count": 2, "burst": AxiBurstType.FIXED},
        {"address": page, "count": 2, "burst": 3},
        {"address": page + PAGE - lanes, "count": 2},
        {"address": page + 1, "count": PAGE // lanes + 1} if PAGE // lanes < 256 else None,
        *({"address": page, "count": 1, "size": size} for size in range(width + 1, 8)),
    ]
    refused = 0
    for case in rng.sample(
        [case for case in unsupported if case], len([case for case in unsupported if case])
    ):
        count = case.pop("count")
        address = case.pop("address")
        sent = bench.monitor.traffic.writes + bench.monitor.traffic.reads
        written = await channels.write(address, [(0, (1 << lanes) - 1)] * count, **case)
        assert written.responses == [AxiResp.SLVERR], case
        read = await channels.read(address, count, **case)
        assert read.responses == [AxiResp.SLVERR] * count and not any(read.beats), case
        refused += 2
        assert bench.monitor.traffic.writes + bench.monitor.traffic.reads == sent, case
        next_read = await channels.read(region.address, 1)
        assert next_read.responses == [AxiResp.OKAY]
        assert next_read.beats[0] == int.from_bytes(region.bytes[:lanes], "little")
    assert bench.dma_errors() == refused
    await region.check()

    # A single beat is supported with any burst type.
    for kind in (AxiBurstType.FIXED, AxiBurstType.WRAP):
        data = rng.getrandbits(8 * lanes)
        answer = await channels.write(page, [(data, (1 << lanes) - 1)], burst=kind)
        assert answer.responses == [AxiResp.OKAY]
        answer = await channels.read(page, 1, burst=kind)
        assert answer.beats == [data] and answer.responses == [AxiResp.OKAY]
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def misplaced_wlast_gets_slverr(dut):
    """``awlen`` decides the length of a burst; a disagreeing ``wlast`` gets SLVERR."""
    rng = random.Random(SEED)
    bench, channels, region = await open_window(dut, rng)
    lanes = channels.lanes
    for lasts in ([0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]):
        await channels.aw.send(
            channels.aw._transaction_obj(
                awid=5, awaddr=region.address, awlen=3, awsize=lanes.bit_length() - 1, awburst=1
            )
        )
        for last in lasts:
            await channels.w.send(channels.w._transaction_obj(wdata=0, wstrb=0, wlast=last))
        answer = await channels.b.recv()
        assert (int(answer.bid), int(answer.bresp)) == (5, AxiResp.SLVERR), lasts
        next_write = await channels.write(region.address, [(0, 0)] * 4)
        assert next_write.responses == [AxiResp.OKAY]
    await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def stalled_responses_are_delivered_later(dut):
    """More bursts than the window holds, while responses stall: all are answered later."""
    rng = random.Random(SEED)
    bench, channels, region = await open_window(dut, rng)
    lanes, count = channels.lanes, 30
    size, full = lanes.bit_length() - 1, (1 << lanes) - 1
    channels.b.pause = channels.r.pause = True
    for number in range(count):
        at = region.address + lanes * number
        for sender, prefix in ((channels.aw, "aw"), (channels.ar, "ar")):
            fields = {"id": number, "addr": at, "len": 0, "size": size, "burst": 1}
            transfer = {prefix + name: value for name, value in fields.items()}
            sender.send_nowait(sender._transaction_obj(**transfer))
        data = int.from_bytes(region.bytes[lanes * number : lanes * (number + 1)], "little")
        channels.w.send_nowait(channels.w._transaction_obj(wdata=data, wstrb=full, wlast=1))
    await bench.settle(2000)
    channels.b.pause = channels.r.pause = False
    for number in range(count):
        written, read = await channels.b.recv(), await channels.r.recv()
        assert (int(written.bid), int(written.bresp)) == (number, AxiResp.OKAY)
        assert (int(read.rid), int(read.rresp)) == (number, AxiResp.OKAY)
    await region.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def consecutive_beats_merge_into_one_request(dut):
    """Beats of one word, and consecutive words, merge into one request."""
    rng = random.Random(SEED)
    bench, channels, region = await open_window(
        dut, rng, max_payload_size=256, max_read_request_size=256
    )
    lanes, traffic = channels.lanes, bench.monitor.traffic
    full = (1 << lanes) - 1

    async def writes_of(beats, *, offset=0, size=None):
        before = traffic.writes
        await channels.write(region.address + offset, beats, size=size)
        return traffic.writes - before

    async def reads_of(count, *, offset=0, size=None):
        before = traffic.reads
        await channels.read(region.address + offset, count, size=size)
        return traffic.reads - before

    assert await writes_of([(0, full)] * (1024 // lanes)) == 4
    assert await writes_of([(0, full)] * (1024 // lanes), offset=lanes) == 5
    assert await writes_of([(0, full)] * 64, size=1) == 1
    assert await writes_of([(0, 0)] * 8) == 0
    # A hole of one byte splits a request in two; a hole in each word adds one request per word.
    assert await writes_of([(0, full & ~2)]) == 2
    assert await writes_of([(0, full & ~2)] * 3) == 4
    assert await reads_of(1024 // lanes) == 4
    assert await reads_of(1024 // lanes, offset=lanes) == 5
    assert await reads_of(64, size=1) == 1
    await bench.finish()
