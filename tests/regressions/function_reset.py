# SPDX-License-Identifier: BSD-2-Clause
"""Function-level reset: its time, and the state that it clears and keeps."""

import cocotb

from models import config_space as space
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.host.requester import CompletionError
from testbench.tlp import CplStatus
from testbench.tlp.packets import config_write, memory_read
from tests.regressions.queue_host import PulseCounter, QueueBench, expect_unsupported, slot_bytes


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_level_reset(dut):
    """After its write completes, all state has its reset value except the sticky state."""
    bench = QueueBench(dut)
    await bench.start()
    host = bench.host
    resets = PulseCounter(dut.host_reset)
    await bench.store(0x3000, 0x1234)
    # The reset also discards masked interrupts.
    await host.set_msix_control(enable=True, mask=True)
    for number in range(3):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.fill(0, range(4))
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(4)])
    payload = space.MAX_PAYLOAD_SIZE
    control = await host.config_read(payload.offset, 2) & ~payload.mask | 2 << payload.lsb
    # The reset discards messages that wait for their doorbell.
    await bench.fill(0, range(4, 7), first=4)
    assert await host.bar_read(2, AMP_PCI.msix_pba_offset, 1) == b"\1"
    await host.config_write(payload.offset, control | space.INITIATE_FLR.mask, 2)
    await bench.settle(20)
    assert resets.total == 1

    try:
        await host.bar_read(0, 0, 4)
        raise AssertionError("memory space is still enabled")
    except CompletionError as error:
        assert error.status == CplStatus.UR
    registers = space.config_space(AMP_PCI, bench.parameters.num_fifos, SPSC_PAGES)
    for offset, register in registers.items():
        value = await host.config_read(offset)
        if offset == payload.offset:
            assert payload.of(value) == 2
            value &= ~payload.mask & 0xFFFF
        assert value == register.reset, f"{register.name}: {value:#010x}"

    await host.start(msix=False)
    for fifo in range(bench.parameters.num_fifos):
        assert await host.bar_read(2, 16 * fifo, 16) == bytes(12) + b"\1\0\0\0"
        for word in (bench.driver(fifo, 0), bench.device(fifo, 0)):
            assert await bench.load(word) == await bench.load(word + 64) == 0
    assert await host.bar_read(2, AMP_PCI.msix_pba_offset, 8) == bytes(8)
    for fifo in range(bench.parameters.num_fifos):
        await bench.ring(fifo)
    await bench.expect_nothing()
    assert await bench.load(0x3000) == 0x1234
    assert await bench.device_slot(0, 0) == slot_bytes(0)

    # The queues start empty.
    await bench.fill(0, range(10, 13))
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(10, 13)])
    assert resets.total == 1
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def reset_follows_its_completion(dut):
    """The function resets after the completion of the write of Initiate FLR has left."""
    bench = QueueBench(dut)
    await bench.start()
    host, flr = bench.host, space.INITIATE_FLR
    resets = PulseCounter(dut.host_reset)
    await bench.store(0x3000, 0x1234)
    control = await host.config_read(flr.offset) & 0xFFFF | flr.mask

    # A poisoned write, one to another function, and one of other bytes have no effect.
    await expect_unsupported(bench, config_write(host.device_id, flr.offset, control, ep=True))
    await expect_unsupported(bench, config_write(host.device_id | 2, flr.offset, control))
    await host.request(config_write(host.device_id, flr.offset, control, 0x1))
    await bench.settle()
    assert resets.total == 0 and await bench.load(0x3000) == 0x1234

    for number in range(3):
        host.sink.pause()
        requests = [
            memory_read(host.bars[1] + 0x3000, 4),
            config_write(host.device_id, flr.offset, control, 0x3),
        ]
        pending = []
        for tlp in requests[number == 2 :]:
            pending.append(await host.requester.open(tlp))
            host.send_nowait(pending[-1].request)
        await bench.settle(100)
        assert resets.total == number, "reset before its completion left"
        host.sink.resume()
        statuses = [(await pending_request.answers())[0].status for pending_request in pending]
        assert set(statuses) == {CplStatus.SC}
        await bench.settle(4)
        assert resets.total == number + 1
        await bench.settle(20)
        await host.start()
        assert await bench.load(0x3000) == 0x1234
    await bench.finish()
