# SPDX-License-Identifier: BSD-2-Clause
"""The compiled endpoint by itself: host accesses, DMA, messages, resets, waves."""

import random

import pytest
from builds import build_configuration

from models.config_space import BUS_MASTER_ENABLE, COMMAND, MEMORY_SPACE_ENABLE
from models.dma import DmaError
from sim.build import BuildConfiguration, BuildError, verilog_file
from sim.native import library
from sim.native.endpoint import StreamProtocolError
from sim.native.host import MOST_WAITING
from sim.native.library import build_library
from sim.native.system import NativeBench
from testbench.host.requester import TlpTimeout
from testbench.queue_access import QueueAccess, slot_of
from testbench.timing import RESET_CYCLES
from testbench.tlp import Tlp, TlpKind
from testbench.tlp.monitor import ProtocolViolation


@pytest.fixture(
    params=[
        128,
        *(
            pytest.param(width, marks=pytest.mark.regress(reason="a build of a minute"))
            for width in (64, 256, 512)
        ),
    ]
)
def bench(request):
    with NativeBench(BuildConfiguration(data_width=request.param)) as bench:
        yield bench


def queues(bench):
    return QueueAccess(bench.host, bench.parameters.shell, bench.parameters.layout)


def test_dma_of_any_alignment(bench):
    """Lengths and offsets around beats, pages and the longest burst."""
    rng = random.Random(bench.parameters.data_width)
    shapes = [(0, 1), (3, 2), (63, 70), (4090, 20), (1, 9000), (0, 16384)]
    shapes += [(rng.randrange(8192), rng.randint(1, 6000)) for _ in range(20)]

    async def main():
        await bench.start()
        region = bench.host.memory.allocate(1 << 15)
        expected = bytearray(1 << 15)

        async def write(offset, data):
            await bench.dma.write(region + offset, data)
            assert await bench.dma.read(region + offset, len(data)) == data

        for offset, size in shapes:
            data = rng.randbytes(size)
            expected[offset : offset + size] = data
            await write(offset, data)
        assert await bench.host.memory.read(region, len(expected)) == expected
        # Accesses under way at once end in order, each with its own data.
        parts = [(1000 * part + part, rng.randbytes(900)) for part in range(16)]
        await bench.runtime.gather(write(*part) for part in parts)
        await bench.finish()

    bench.run(main())
    assert bench.dma.statistics.reads == bench.dma.statistics.writes == len(shapes) + 16
    assert not bench.dma.under_way


def test_messages_in_both_directions(bench):
    """The queue to the driver fills: messages wait until the host has read some."""
    capacity = bench.parameters.layout.queue.capacity
    messages = [slot_of(number, 64) for number in range(capacity + 5)]

    async def main():
        await bench.start()
        access = queues(bench)
        await access.fill(0, range(5))
        await access.ring(0)
        for number in range(5):
            assert await bench.port.receive() == (0, slot_of(number, 64))

        async def send():
            for message in messages:
                await bench.port.send(0, message)

        sending = bench.runtime.spawn(send())
        await bench.settle(2000)
        assert not sending.done and not bench.port.pending
        assert await access.device_head(0) == capacity - 1
        received = [await access.device_slot(0, slot) for slot in range(capacity - 1)]
        await access.set_device_tail(0, capacity - 1)
        await sending
        slot = capacity - 1
        while len(received) < len(messages):
            received.append(await access.device_slot(0, slot))
            slot = access.queue.next(slot)
        assert received == messages
        await bench.finish()

    bench.run(main())
    assert bench.host.interrupts[0] > 0
    assert bench.endpoint.value("count_messages_to_driver") == len(messages)


def test_posted_writes_wait_only_until_they_are_accepted():
    with NativeBench(BuildConfiguration()) as bench:

        async def main():
            await bench.start()
            access = queues(bench)
            before = bench.cycles
            for number in range(3 * MOST_WAITING):
                await access.store(access.driver(0, access.queue.slots_offset), number)
                assert bench.host.pending <= MOST_WAITING + 1
            await bench.host.drained()
            assert not bench.host.pending
            # A packet of one beat each cycle, and some cycles for each wait.
            assert bench.cycles - before < 6 * MOST_WAITING
            await bench.finish()

        bench.run(main())


def test_dma_without_bus_master_fails():
    with NativeBench(BuildConfiguration()) as bench:

        async def main():
            await bench.start()
            await bench.host.config_write(COMMAND, MEMORY_SPACE_ENABLE.mask, 2)
            with pytest.raises(DmaError, match="read of 64 bytes at 0x1000: response is SLVERR"):
                await bench.dma.read(0x1000, 64)
            with pytest.raises(DmaError, match="write of 8 bytes at 0x1000: response is SLVERR"):
                await bench.dma.write(0x1000, bytes(8))
            await bench.host.config_write(
                COMMAND, MEMORY_SPACE_ENABLE.mask | BUS_MASTER_ENABLE.mask, 2
            )
            address = bench.host.memory.allocate(8)
            await bench.dma.write(address, b"in order")
            await bench.finish()

        bench.run(main())


def test_reset_drops_what_is_under_way():
    with NativeBench(BuildConfiguration()) as bench:

        async def refuse(access, match):
            with pytest.raises(DmaError, match=match):
                await access

        async def main():
            await bench.start()
            address = bench.host.memory.allocate(1 << 16)
            aborted = [
                bench.runtime.spawn(refuse(access, "aborted by reset"))
                for access in (
                    bench.dma.read(address, 1 << 16),
                    bench.dma.write(address, bytes(1 << 16)),
                )
            ]
            posted = bench.runtime.spawn(bench.host.send(memory_write(bench)))
            message = bench.runtime.spawn(bench.port.send(0, bytes(64)))
            await bench.runtime.wait_cycles(20)
            before = bench.cycles
            await bench.reset()
            assert bench.cycles == before + RESET_CYCLES + 1
            for task in (*aborted, posted, message):
                await task
            bench.host.requester.abandon()
            await bench.host.start()
            assert await queues(bench).driver_tail(0) == 0
            await bench.finish()

        bench.run(main())


def memory_write(bench):
    return Tlp(
        TlpKind.MWR32,
        length=1,
        first_be=0xF,
        address=bench.host.bars[bench.parameters.shell.fifo_bar],
        requester_id=bench.host.requester_id,
        payload=bytes(4),
    )


def test_a_request_without_an_answer_times_out():
    """Time passes although nothing moves."""
    with NativeBench(BuildConfiguration(), timeout_us=5) as bench:

        async def main():
            await bench.start()
            # No request has this tag: the design answers the requester of another function.
            bench.host.requester_id ^= 0x100
            pending = await bench.host.requester.open(memory_read(bench))
            with pytest.raises(TlpTimeout):
                await pending.answers()

        bench.run(main())


def memory_read(bench):
    return Tlp(TlpKind.MRD32, length=1, first_be=0xF, address=0x1000, requester_id=0)


def test_the_monitor_judges():
    """A completion to a request that the monitor does not know is a violation."""
    with NativeBench(BuildConfiguration()) as bench:

        async def main():
            await bench.start()
            bench.monitor.host_sent = lambda tlp: None
            await queues(bench).driver_tail(0)

        with pytest.raises(ProtocolViolation, match="unexpected-completion"):
            bench.run(main())


@pytest.mark.regress(reason="compiles faulty gateware")
def test_stream_errors_are_raised(monkeypatch, tmp_path):
    """Of gateware whose packets have no end."""
    source = verilog_file(BuildConfiguration(data_width=64))
    text = source.read_text()
    faulty = tmp_path / source.name
    faulty.write_text(text.replace("assign tx_tlp_eop = ", "assign tx_tlp_eop = 1'd0 & "))
    assert faulty.read_text() != text
    monkeypatch.setattr(library, "verilog_file", lambda configuration: faulty)
    with (
        NativeBench(BuildConfiguration(data_width=64)) as bench,
        pytest.raises(StreamProtocolError, match="tx_tlp: strb is not contiguous"),
    ):
        bench.run(bench.start())


def test_waves_are_recorded_in_their_window(tmp_path):
    waves = tmp_path / "dump.vcd"
    window = (100, 120)
    with NativeBench(BuildConfiguration(waves="vcd"), waves=waves, window=window) as bench:

        async def main():
            await bench.start()
            await bench.settle(200)

        bench.run(main())
    text = waves.read_text()
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    period_ps = 4000
    assert times[0] == window[0] * period_ps
    assert times[-1] == window[1] * period_ps + period_ps // 2
    assert "rx_tlp_hdr" in text


@pytest.mark.parametrize(
    "configuration, text",
    [
        (build_configuration(top="core"), "only an endpoint with its DMA window"),
        (build_configuration(top="endpoint", dma=False), "only an endpoint with its DMA window"),
        (build_configuration(simulator="icarus"), "the native engine needs verilator"),
    ],
)
def test_other_builds_are_refused(configuration, text):
    with pytest.raises(BuildError, match=text):
        build_library(configuration)
