# SPDX-License-Identifier: BSD-2-Clause
"""Enumeration by an independent root complex, and configuration space."""

import random

import cocotb

from models import config_space as space
from models.endpoint import Endpoint
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.bench import Bench
from testbench.device_port import StreamDevicePort
from testbench.host.requester import read_data
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import config_read, config_write, memory_read, memory_write
from tests.regressions.queue_host import (
    SEED,
    PulseCounter,
    QueueBench,
    expect_unsupported,
    slot_bytes,
)

PM_ID, PCIE_ID, MSIX_ID = 0x01, 0x10, 0x11
MAX_PAYLOAD = 256
"""Max_Payload_Size that the root complex sets, in bytes: not the reset value."""
STATUS_BITS = (
    space.UNSUPPORTED_REQUEST_DETECTED,
    space.CORRECTABLE_ERROR_DETECTED,
    space.NON_FATAL_ERROR_DETECTED,
)


def registers(bench):
    """Registers of configuration space by offset, without those that read zero."""
    return space.config_space(AMP_PCI, bench.parameters.num_fifos, SPSC_PAGES)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def root_complex_enumerates_the_function(dut):
    """cocotbext-pcie's root complex finds the ids, BARs, capabilities and vectors."""
    bench = Bench(dut, root_complex=True, max_payload_size=MAX_PAYLOAD)
    await bench.start()
    function = bench.host.function
    fifos = bench.parameters.num_fifos
    assert (function.vendor_id, function.device_id) == (0x10EE, 0x9039)
    assert (function.revision_id, function.class_code) == (1, 0x088000)
    sizes = {
        bar: window.size for bar, window in enumerate(function.bar_window) if window is not None
    }
    assert sizes == {0: 0x4000, 1: 1 << (fifos * 0x4000 - 1).bit_length(), 2: 0x1000}
    flags = [await function.config_read_dword(space.bar_offset(bar)) & 0xF for bar in range(3)]
    assert flags == [0, 8, 0]
    assert await function.config_read_dword(0x3C) >> 8 == 0, "no interrupt pin"
    assert bench.host.vectors == fifos
    assert await function.config_read_dword(0x2C) == registers(bench)[0x2C].reset, "subsystem"
    assert await function.config_read_byte(0x0E) == 0, "type 0 header, a single function"

    capability_ids, pointer = [], await function.config_read_byte(0x34)
    while pointer:
        capability_ids.append(await function.config_read_byte(pointer))
        pointer = await function.config_read_byte(pointer + 1)
    assert sorted(capability_ids) == [PM_ID, PCIE_ID, MSIX_ID]
    control = await function.config_read_dword(space.DEVICE_CONTROL)
    assert 128 << space.MAX_PAYLOAD_SIZE.of(control) == MAX_PAYLOAD

    assert await bench.host.bar_read(0, 0, 8) == b"\1" + bytes(7)
    data = slot_bytes(1)
    for size in range(1, 65):
        await bench.host.bar_write(1, 0x3000 + size, data[:size])
        assert await bench.host.bar_read(1, 0x3000 + size, size) == data[:size]
    # Longer than Max_Payload_Size, and across its boundary.
    page = random.Random(SEED).randbytes(0x800)
    await bench.host.bar_write(1, 0x3003, page)
    assert await bench.host.bar_read(1, 0x3003, len(page)) == page

    port = StreamDevicePort(dut)
    for fifo in range(fifos):
        interrupt = bench.host.interrupt(fifo)
        await port.send(fifo, data)
        await interrupt.wait()
        slot = SPSC_PAGES.device_queue_base(fifo) + SPSC_PAGES.queue.slots_offset
        assert await bench.host.bar_read(1, slot, 64) == data
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def config_space_matches_the_golden_model(dut):
    """Every dword equals the golden model's after the same random writes and byte enables."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.reset()
    golden = Endpoint(bench.parameters.num_fifos)
    declared = sorted(registers(bench))

    async def compare(offsets):
        for offset in offsets:
            value, expected = await bench.host.config_read(offset), golden.config_read(offset)
            assert value == expected, (
                f"{offset:#05x}: {value:#010x} instead of {expected:#010x}, seed {SEED}"
            )

    await compare(range(0, 0x1000, 4))
    for bar in range(6):
        await bench.host.config_write(space.bar_offset(bar), 0xFFFF_FFFF)
        golden.config_write(space.bar_offset(bar), 0xFFFF_FFFF)
    await compare(declared)
    for _ in range(200):
        offset = rng.choice([*declared, *declared, rng.randrange(0, 0x1000, 4)])
        value, enables = rng.getrandbits(32), rng.randrange(16)
        if offset == space.INITIATE_FLR.offset:
            value &= ~space.INITIATE_FLR.mask
        await bench.host.request(config_write(bench.host.device_id, offset, value, enables))
        golden.config_write(offset, value, enables)
        await compare([offset])
    await compare(range(0, 0x1000, 4))
    # Reset clears all of it, including the bus number: the monitor expects number 0 again.
    await bench.reset()
    golden.hot_reset()
    await compare(declared)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def bars_answer_only_with_memory_space_and_in_d0(dut):
    """Without memory space enable, or in D3hot, no BAR answers; D1 and D2 do not exist."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    rings = PulseCounter(dut.doorbell)
    power = space.POWER_STATE.offset
    await bench.store(0x3000, 0x1234)
    table = await bench.host.bar_read(2, 0, 16)
    switches = (
        ((space.COMMAND, 0x4, 2), (space.COMMAND, 0x6, 2)),
        ((power, space.POWER_D3HOT), (power, space.POWER_D0)),
    )
    for off, on in switches:
        await bench.host.config_write(*off)
        for bar, base in bench.host.bars.items():
            for size in (0, 1, 4, 7, 128):
                await expect_unsupported(bench, memory_read(base + rng.randrange(256), size))
            await bench.host.bar_write(bar, 0, b"\xff" * 64)
        await bench.store(0x3000, 0x5678)
        await bench.ring(0)
        # Configuration space still answers.
        assert await bench.host.config_read(0, 2) == 0x10EE
        await bench.host.config_write(*on)
        assert await bench.load(0x3000) == 0x1234
        assert await bench.load(bench.driver(0, 0)) == 0
        assert await bench.host.bar_read(2, 0, 16) == table
    for state in (1, 2):
        await bench.host.config_write(power, state)
        assert await bench.host.config_read(power) & 3 == space.POWER_D0
        assert await bench.load(0x3000) == 0x1234
        await bench.host.config_write(power, space.POWER_D3HOT)
        await bench.host.config_write(power, state)
        assert await bench.host.config_read(power) & 3 == space.POWER_D3HOT
        await expect_unsupported(bench, memory_read(bench.host.bars[1], 4))
        await bench.host.config_write(power, space.POWER_D0)
    await bench.settle()
    assert rings.total == 0
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def bar_moves_take_effect_in_order(dut):
    """A BAR answers at its last address; each request uses the address written before it."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.start()
    host = bench.host
    await bench.store(0x3000, 0x1234)
    for _ in range(8):
        old = host.bars[1]
        size = host.function.bar_sizes[1]
        # Below all BARs, so that it overlaps none.
        new = rng.choice([at for at in (0x10_0000 * n for n in range(1, 0xC00)) if at != old])
        new += size * rng.randrange(0x10_0000 // size)
        # The write of the register with requests before and after it, back to back.
        requests = [
            memory_read(old + 0x3000, 4),
            config_write(host.device_id, space.bar_offset(1), new),
            memory_read(new + 0x3000, 4),
            memory_read(old + 0x3000, 4),
        ]
        pending = [await host.requester.open(tlp) for tlp in requests]
        for pending_request in pending:
            host.send_nowait(pending_request.request)
        answers = [(await pending_request.answers())[0].status for pending_request in pending]
        assert answers == [CplStatus.SC, CplStatus.SC, CplStatus.SC, CplStatus.UR], (
            f"{old:#x} to {new:#x}"
        )
        host.bars[1] = new
        assert await bench.load(0x3000) == 0x1234
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def unsupported_requests(dut):
    """A request that is not supported gets one Unsupported Request completion."""
    bench = QueueBench(dut)
    await bench.start()
    target, bar1 = bench.host.device_id, bench.host.bars[1]
    size = bench.host.function.bar_sizes[1]
    await bench.store(0x3000, 0x1234)
    request_fields = {"address": bar1 + 0x3000, "length": 1, "first_be": 0xF}
    dword = b"\xff" * 4
    requests = [
        memory_read(bar1 + 16 * size, 4),
        memory_read(bar1 - 4, 64),
        memory_read(0x1_0000_0000 + bar1, 4),
        memory_read(bar1 + 0x3FFC, 8),
        memory_read(bar1 + 0x3100, 4 * 1000),
        Tlp(TlpKind.MRDLK32, **request_fields),
        Tlp(TlpKind.IORD, **request_fields),
        Tlp(TlpKind.IOWR, payload=dword, **request_fields),
        Tlp(TlpKind.FETCHADD32, payload=dword, **request_fields),
        Tlp(TlpKind.SWAP32, payload=dword, **request_fields),
        Tlp(TlpKind.CAS32, payload=dword * 2, **{**request_fields, "length": 2}),
        Tlp(
            TlpKind.FETCHADD64, payload=dword * 2, **{**request_fields, "length": 2, "last_be": 0xF}
        ),
        Tlp(TlpKind.SWAP64, payload=dword, **request_fields),
        Tlp(TlpKind.CAS64, payload=dword * 4, **{**request_fields, "length": 4, "last_be": 0xF}),
        Tlp(TlpKind.MRDLK64, **request_fields),
        *(config_read(target | function, 0) for function in range(1, 8)),
        config_write(target | 3, 4, 0),
        Tlp(TlpKind.CFGRD1, completer_id=target, length=1, first_be=0xF),
        Tlp(TlpKind.CFGWR1, completer_id=target, length=1, first_be=0xF, payload=dword),
        config_write(target, space.COMMAND, 0, ep=True),
    ]
    before = int(dut.count_unsupported_requests.value)
    rng = random.Random(SEED)
    for tlp in requests:
        # The monitor checks that the completion echoes traffic class and attributes.
        await expect_unsupported(bench, tlp.replace(tc=rng.randrange(8), attr=rng.randrange(8)))
    # All reach the core except the poisoned configuration write.
    assert int(dut.count_unsupported_requests.value) - before == len(requests) - 1
    assert await bench.load(0x3000) == 0x1234
    assert await bench.host.config_read(space.COMMAND, 2) & 0x6 == 0x6

    # The same requests back to back, with supported reads between them.
    served = memory_read(bar1 + 0x3000, 4)
    pending = []
    for tlp in rng.sample(requests, len(requests)):
        for request in (tlp, served):
            opened = await bench.host.requester.open(
                request.replace(requester_id=rng.getrandbits(16))
            )
            bench.host.send_nowait(opened.request)
            pending.append((request is served, opened))
    for is_served, opened in pending:
        answers = await opened.answers()
        if is_served:
            assert read_data(opened.request, 4, answers) == (0x1234).to_bytes(4, "little")
        else:
            assert [answer.status for answer in answers] == [CplStatus.UR], opened.request
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def errors_without_completion_are_recorded(dut):
    """Errors of posted requests and completions get no answer, have no effect, and are recorded."""
    bench = QueueBench(dut)
    await bench.start()
    host, bar1 = bench.host, bench.host.bars[1]
    await bench.store(0x3000, 0x1234)
    control = space.DEVICE_CONTROL

    async def status():
        value = await host.config_read(control)
        await host.config_write(control, value)
        cleared = await host.config_read(control)
        assert not any(field.of(cleared) for field in STATUS_BITS)
        return [field.of(value) for field in STATUS_BITS]

    async def parity():
        """Detected Parity Error, cleared; check that only writing a one clears it."""
        field = space.DETECTED_PARITY_ERROR
        value = await host.config_read(field.offset)
        for written_value, lanes in ((value & ~field.mask, 0xF), (value | field.mask, 0x7)):
            await host.request(config_write(host.device_id, field.offset, written_value, lanes))
            assert await host.config_read(field.offset) == value
        await host.config_write(field.offset, value)
        assert not field.of(await host.config_read(field.offset))
        return field.of(value)

    await status()
    dword = b"\xff" * 4
    await host.send(memory_write(bar1 + 0x3000, dword, ep=True))
    value = await host.config_read(control)
    for written_value, lanes in ((0, 0x4), (value, 0x3)):
        await host.request(config_write(host.device_id, control, written_value, lanes))
        assert await host.config_read(control) == value
    assert await status() == [0, 0, 1]
    assert await parity()
    # An error with a completion is advisory, thus correctable (section 6.2.3.2.4.1).
    await expect_unsupported(bench, config_write(host.device_id, space.COMMAND, 0, ep=True))
    assert await status() == [0, 1, 0]
    assert await parity()
    await host.send(memory_write(bar1 + (1 << 20), dword))
    assert await status() == [1, 0, 1]
    await host.send(memory_write(bar1 + 0x3FFC, dword * 2))
    assert await status() == [1, 0, 1]
    await expect_unsupported(bench, memory_read(bar1 + (1 << 20), 4))
    assert await status() == [1, 1, 0]
    await expect_unsupported(bench, config_read(host.device_id | 1, 0))
    assert await status() == [1, 1, 0]
    assert not await parity()

    # A vendor-defined message without data (type 1), broadcast, and one with data.
    await host.send(Tlp(0x33, first_be=0xF, last_be=0x7))
    await host.send(Tlp(0x73, first_be=0xF, last_be=0x7, length=1, payload=dword))
    assert await status() == [0, 0, 0]
    before = int(dut.count_unexpected_completions.value)
    await host.send(Tlp(TlpKind.CPLD, length=1, byte_count=4, tag=5, payload=dword))
    await host.send(Tlp(TlpKind.CPL, byte_count=4, tag=6, status=CplStatus.UR))
    await bench.settle()
    assert int(dut.count_unexpected_completions.value) == before + 2
    assert await bench.load(0x3000) == 0x1234
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def completer_id_is_captured(dut):
    """Each configuration write sets the Completer ID; the monitor checks every completion's."""
    bench = QueueBench(dut)
    await bench.reset()
    captured = 0
    for device_id in (0x0100, 0x2AF8, 0xFF08):
        # A configuration read contains the ID too, but only writes set it (section 2.2.6.2).
        (answer,) = await bench.host.request(config_read(device_id, 0))
        assert answer.completer_id == captured
        if not captured:
            await bench.host.start()
        captured = device_id
        await bench.host.request(config_write(device_id, space.COMMAND, 6, 0x3))
        await bench.load(0x3000)
        (answer,) = await bench.host.request(memory_read(bench.host.bars[0], 4))
        assert answer.completer_id == device_id
    await bench.finish()
