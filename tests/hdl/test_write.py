# SPDX-License-Identifier: BSD-2-Clause
"""The write half of the DMA window: every byte is written once, bursts are answered in order."""

import pytest
from burst_model import bytes_of, endless, random_burst, write_source
from streams import Bench, geometry, packets_of, tlp_of

from hdl.block_options import BlockOptions
from hdl.dma.write import WriteRequester
from hdl.tlp import DATA_WIDTHS
from testbench.tlp.packets import enabled_bytes

OKAY, SLVERR = 0, 2
REQUESTER_ID = 0xA5C3


def written_bytes(tlp):
    """Bytes that a memory write writes, by address."""
    return {
        tlp.address + place: tlp.payload[place]
        for place, enabled in enumerate(enabled_bytes(tlp))
        if enabled
    }


def settings(bench, control, **values):
    """Drive the settings of a window for the whole test."""

    async def process(ctx):
        for name, value in {"requester_id": REQUESTER_ID, **values}.items():
            ctx.set(getattr(control, name), value)

    bench.process(process)


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("size_code", [0, 1, 5])
def test_bytes_are_written_once_and_in_order(width, size_code):
    dut = WriteRequester(geometry(width))
    bench = Bench(dut, width, size_code, period=80)
    settings(bench, dut.control, bus_master_enable=1, max_payload_size=size_code)
    sent = write_source(
        bench, dut.aw, dut.w, width // 8, endless(lambda: random_burst(bench.rng, width // 8))
    )
    beats = bench.sink(dut.o)
    answers = bench.sink(dut.b)
    accepted, departed = bench.count(dut.fence.accepted), bench.count(dut.fence.departed)
    bench.run(drain=400)

    block = min(128 << size_code, 512)
    written = []
    for packet in packets_of(beats):
        tlp = tlp_of(packet)
        assert tlp.requester_id == REQUESTER_ID
        assert tlp.address // block == (tlp.address + 4 * tlp.length - 1) // block
        written += written_bytes(tlp).items()
    expected = []
    for burst, data in sent:
        if burst.is_served(width // 8):
            expected += bytes_of(burst, data, width // 8).items()
    assert written == expected
    assert [(answer["id"], answer["resp"]) for answer in answers] == [
        (burst.id, OKAY if burst.is_served(width // 8) else SLVERR) for burst, _ in sent
    ]
    assert len(accepted) == len(departed) == len(sent) > 2


@pytest.mark.parametrize("width", [64, 256])
def test_without_bus_mastering_nothing_is_written(width):
    dut = WriteRequester(geometry(width))
    bench = Bench(dut, width)
    settings(bench, dut.control)
    sent = write_source(
        bench, dut.aw, dut.w, width // 8, endless(lambda: random_burst(bench.rng, width // 8))
    )
    beats = bench.sink(dut.o)
    answers = bench.sink(dut.b)
    bench.run(drain=400)
    assert not beats
    for (burst, data), answer in zip(sent, answers, strict=True):
        empty = burst.is_served(width // 8) and not bytes_of(burst, data, width // 8)
        assert (answer["id"], answer["resp"]) == (burst.id, OKAY if empty else SLVERR)


@pytest.mark.parametrize("width", [64, 512])
def test_bursts_are_answered_after_their_confirmations(width):
    """Confirmations come at random times after the TLPs."""
    block = BlockOptions(sequence_numbers=True)
    dut = WriteRequester(geometry(width, block=block))
    bench = Bench(dut, width, period=80)
    settings(bench, dut.control, bus_master_enable=1)
    sent = write_source(
        bench,
        dut.aw,
        dut.w,
        width // 8,
        endless(lambda: random_burst(bench.rng, width // 8, served=True)),
    )
    beats = bench.sink(dut.o)
    answers = bench.sink(dut.b)
    confirmed = []

    async def confirm(ctx):
        while True:
            held = sum(beat["eop"] for beat in beats) - len(confirmed)
            pulse = held > 0 and bench.rng.random() < 0.2
            ctx.set(dut.confirmed, pulse)
            await ctx.tick()
            if pulse:
                confirmed.append(bench.cycle)

    bench.process(confirm)
    bench.run(drain=400)
    assert len(confirmed) == len(packets_of(beats))
    assert len(answers) == len(sent)
    tlps = [tlp_of(packet) for packet in packets_of(beats)]
    for (burst, data), answer in zip(sent, answers, strict=True):
        remaining = len(bytes_of(burst, data, width // 8))
        departure = 0
        while remaining:
            remaining -= len(written_bytes(tlps.pop(0)))
            departure = confirmed.pop(0)
        assert answer["cycle"] > departure
