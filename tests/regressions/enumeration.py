# SPDX-License-Identifier: BSD-2-Clause
"""What PCI software sees: enumeration by an independent root complex, and configuration space."""

import random

import cocotb

from models import config_space as space
from models.endpoint import Endpoint
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.completions import CompletionError
from testbench.device_port import StreamDevicePort
from testbench.packets import config_read, config_write, memory_read, memory_write
from testbench.system import Bench
from testbench.tlp import Kind, Status, Tlp
from tests.regressions.queue_host import SEED, QueueBench, slot_bytes

PM_ID, PCIE_ID, MSIX_ID = 0x01, 0x10, 0x11
STATUS_BITS = (
    space.UNSUPPORTED_REQUEST_DETECTED,
    space.CORRECTABLE_ERROR_DETECTED,
    space.NON_FATAL_ERROR_DETECTED,
)


def registers(bench):
    """Every register of configuration space that is not just zero, by offset."""
    return space.config_space(AMP_PCI, bench.parameters.num_fifos, SPSC_PAGES)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def by_a_root_complex(dut):
    """Ids, BARs, capabilities and vectors, as cocotbext-pcie's root complex finds them."""
    bench = Bench(dut, root_complex=True)
    await bench.start()
    function = bench.host.function
    fifos = bench.parameters.num_fifos
    assert (function.vendor_id, function.device_id) == (0x10EE, 0x9039)
    assert (function.revision_id, function.class_code) == (1, 0x088000)
    sizes = {bar: w.size for bar, w in enumerate(function.bar_window) if w is not None}
    assert sizes == {0: 0x4000, 1: 1 << (fifos * 0x4000 - 1).bit_length(), 2: 0x1000}
    flags = [await function.config_read_dword(space.bar_offset(bar)) & 0xF for bar in range(3)]
    assert flags == [0, 8, 0]
    assert await function.config_read_dword(0x3C) >> 8 == 0, "no interrupt pin"
    assert bench.host.vectors == fifos

    found, pointer = [], await function.config_read_byte(0x34)
    while pointer:
        found.append(await function.config_read_byte(pointer))
        pointer = await function.config_read_byte(pointer + 1)
    assert sorted(found) == [PM_ID, PCIE_ID, MSIX_ID]

    assert await bench.host.bar_read(0, 0, 8) == b"\1" + bytes(7)
    data = slot_bytes(1)
    for size in (1, 2, 3, 4, 8, 33, 64):
        await bench.host.bar_write(1, 0x3000 + size, data[:size])
        assert await bench.host.bar_read(1, 0x3000 + size, size) == data[:size]

    port = StreamDevicePort(dut)
    for fifo in range(fifos):
        interrupt = bench.host.interrupt(fifo)
        await port.send(fifo, data)
        await interrupt.wait()
        slot = SPSC_PAGES.device_queue_base(fifo) + SPSC_PAGES.queue.slots_offset
        assert await bench.host.bar_read(1, slot, 64) == data
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def against_the_golden_model(dut):
    """Every dword, after the same random writes with the same byte enables."""
    rng = random.Random(SEED)
    bench = QueueBench(dut)
    await bench.reset()
    golden = Endpoint(bench.parameters.num_fifos)
    declared = sorted(registers(bench))

    async def compare(offsets):
        for offset in offsets:
            got, want = await bench.host.config_read(offset), golden.config_read(offset)
            assert got == want, f"{offset:#05x}: {got:#010x}, not {want:#010x}"

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
    await compare(range(0, 0x100, 4))
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def memory_space_and_power(dut):
    """Without memory space enable, or in D3hot, no BAR answers; D1 and D2 do not exist."""
    bench = QueueBench(dut)
    await bench.start()
    power = space.POWER_STATE.offset
    await bench.store(0x3000, 0x1234)
    switches = (
        ((space.COMMAND, 0x4, 2), (space.COMMAND, 0x6, 2)),
        ((power, space.POWER_D3HOT), (power, space.POWER_D0)),
    )
    for off, on in switches:
        await bench.host.config_write(*off)
        for bar in range(3):
            await refused(bench, memory_read(bench.host.bars[bar], 4))
        await bench.store(0x3000, 0x5678)
        await bench.ring(0)
        await bench.host.config_write(*on)
        assert await bench.load(0x3000) == 0x1234
    for state in (1, 2):
        await bench.host.config_write(power, state)
        assert await bench.host.config_read(power) & 3 == space.POWER_D0
        assert await bench.load(0x3000) == 0x1234
    await bench.expect_nothing()
    await bench.finish()


async def refused(bench, tlp):
    """One completion, Unsupported Request; the monitor checks all else about it."""
    (answer,) = await bench.host.request(tlp)
    assert answer.status == Status.UR and not answer.payload, f"{tlp} got {answer}"


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def unsupported_requests(dut):
    """What we do not serve is answered once, with Unsupported Request."""
    bench = QueueBench(dut)
    await bench.start()
    target, bar1 = bench.host.device_id, bench.host.bars[1]
    size = bench.host.function.bar_sizes[1]
    await bench.store(0x3000, 0x1234)
    here = {"address": bar1 + 0x3000, "length": 1, "first_be": 0xF}
    dword = b"\xff" * 4
    requests = [
        memory_read(bar1 + 16 * size, 4),
        memory_read(bar1 - 4, 64),
        memory_read(0x1_0000_0000 + bar1, 4),
        memory_read(bar1 + 0x3FFC, 8),
        memory_read(bar1 + 0x3100, 4 * 1000),
        Tlp(Kind.MRDLK32, **here),
        Tlp(Kind.IORD, **here),
        Tlp(Kind.IOWR, payload=dword, **here),
        Tlp(Kind.FETCHADD32, payload=dword, **here),
        Tlp(Kind.SWAP32, payload=dword, **here),
        Tlp(Kind.CAS32, payload=dword * 2, **{**here, "length": 2}),
        Tlp(Kind.FETCHADD64, payload=dword * 2, **{**here, "length": 2, "last_be": 0xF}),
        config_read(target | 1, 0),
        config_write(target | 3, 4, 0),
        Tlp(Kind.CFGRD1, completer_id=target, length=1, first_be=0xF),
        Tlp(Kind.CFGWR1, completer_id=target, length=1, first_be=0xF, payload=dword),
        config_write(target, space.COMMAND, 0, ep=True),
    ]
    before = int(dut.count_unsupported_requests.value)
    for tlp in requests:
        await refused(bench, tlp)
    # All but the poisoned configuration write got as far as the core.
    assert int(dut.count_unsupported_requests.value) - before == len(requests) - 1
    assert await bench.load(0x3000) == 0x1234
    assert await bench.host.config_read(space.COMMAND, 2) & 0x6 == 0x6
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def posted_and_unexpected(dut):
    """What gets no answer gets none, changes nothing, and is recorded."""
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

    await status()
    dword = b"\xff" * 4
    await host.send(memory_write(bar1 + 0x3000, dword, ep=True))
    assert await status() == [0, 0, 1]
    parity = space.DETECTED_PARITY_ERROR
    assert parity.of(await host.config_read(space.COMMAND))
    await host.send(memory_write(bar1 + (1 << 20), dword))
    assert await status() == [1, 0, 1]
    await host.send(memory_write(bar1 + 0x3FFC, dword * 2))
    assert await status() == [1, 0, 1]
    await refused(bench, memory_read(bar1 + (1 << 20), 4))
    assert await status() == [1, 1, 0]

    # A vendor-defined message without data (type 1), broadcast, and one with data.
    await host.send(Tlp(0x33, first_be=0xF, last_be=0x7))
    await host.send(Tlp(0x73, first_be=0xF, last_be=0x7, length=1, payload=dword))
    assert await status() == [0, 0, 0]
    before = int(dut.count_unexpected_completions.value)
    await host.send(Tlp(Kind.CPLD, length=1, byte_count=4, tag=5, payload=dword))
    await host.send(Tlp(Kind.CPL, byte_count=4, tag=6, status=Status.UR))
    await bench.settle()
    assert int(dut.count_unexpected_completions.value) == before + 2
    assert await bench.load(0x3000) == 0x1234
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def completer_id_is_captured(dut):
    """Each configuration write names us; the monitor holds every completion to it."""
    bench = QueueBench(dut)
    await bench.start()
    for device_id in (0x0100, 0x2AF8, 0xFF08):
        await bench.host.request(config_write(device_id, space.COMMAND, 6, 0x3))
        await bench.load(0x3000)
        (answer,) = await bench.host.request(memory_read(bench.host.bars[0], 4))
        assert answer.completer_id == device_id
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def function_level_reset(dut):
    """The write is completed first; then everything is as after reset but what has to stay."""
    bench = QueueBench(dut)
    await bench.start()
    host = bench.host
    resets = []

    async def watch():
        while True:
            await dut.host_reset.rising_edge
            resets.append(bench.time_ns)

    cocotb.start_soon(watch())
    await bench.store(0x3000, 0x1234)
    for number in range(3):
        await bench.source.send_message(0, slot_bytes(number))
    await bench.fill(0, range(4))
    await bench.ring(0)
    await bench.expect([(0, slot_bytes(number)) for number in range(4)])
    payload = space.MAX_PAYLOAD_SIZE
    control = await host.config_read(payload.offset, 2) & ~payload.mask | 2 << payload.lsb
    await host.config_write(payload.offset, control | space.INITIATE_FLR.mask, 2)
    answered = bench.time_ns
    await bench.settle(20)
    assert len(resets) == 1 and resets[0] >= answered - 2 * 4

    try:
        await host.bar_read(0, 0, 4)
        raise AssertionError("memory space is still enabled")
    except CompletionError as error:
        assert error.status == Status.UR
    for offset, register in registers(bench).items():
        got = await host.config_read(offset)
        if offset == payload.offset:
            assert payload.of(got) == 2
            got &= ~payload.mask & 0xFFFF
        assert got == register.reset, f"{register.name}: {got:#010x}"

    await host.start(msix=False)
    for fifo in range(bench.parameters.num_fifos):
        assert await host.bar_read(2, 16 * fifo, 16) == bytes(12) + b"\1\0\0\0"
        for word in (bench.driver(fifo, 0), bench.device(fifo, 0)):
            assert await bench.load(word) == await bench.load(word + 64) == 0
    assert await bench.load(0x3000) == 0x1234
    assert await bench.device_slot(0, 0) == slot_bytes(0)
    await bench.finish()
