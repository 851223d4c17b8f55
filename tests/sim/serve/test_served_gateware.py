# SPDX-License-Identifier: BSD-2-Clause
"""The served gateware through a client of our own: every access, and what a guest may do to it."""

import asyncio
import contextlib
import errno
import os
import random
import time

import pytest
from builds import BUILDS, COMPLETION_TIMEOUT
from by_hand import answer, ask, get_devices, pending, wait_for
from vfio_host import MEMORY_BASE, MEMORY_SIZE, driver_of, socket_folder, socket_in, with_host

from models import config_space as space
from models.devices.block import SECTOR
from models.drivers import BlockDriver, ConsoleDriver, EntropyDriver, NetworkDriver
from models.drivers.base import DeviceFailedError
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from models.virtio import Status
from models.virtqueue import Buffer
from sim import toolchain
from sim.build import Configuration
from sim.peer import OWN_IP, PEER_IP, PEER_MAC
from sim.run import new_seed
from sim.serve.server import Server
from sim.vfio_user import wire
from sim.vfio_user.client import Client, RefusedError
from sim.vfio_user.wire import Command, Flags, IrqSetFlags, Message

SEED = 7
FIFOS, WIDTH = BUILDS["endpoint"]
CONFIG = wire.CONFIG_REGION
FIFO_BAR = AMP_PCI.fifo_bar
PAGE = 0x1000


def configuration(simulator):
    return Configuration(
        num_fifos=FIFOS,
        data_width=WIDTH,
        completion_timeout=COMPLETION_TIMEOUT,
        simulator=simulator,
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(bytes(64 * SECTOR))
    return path


def pytest_generate_tests(metafunc):
    if "server" not in metafunc.fixturenames:
        return
    simulators = toolchain.SIMULATORS
    # The second one is there to disagree; all of it is for the longer matrices.
    everything = metafunc.config.getoption("--regress")
    if not everything and metafunc.function is not test_the_whole_exchange:
        simulators = list(toolchain.available())[:1]
    metafunc.parametrize("server", simulators, indirect=True, scope="module")


@pytest.fixture(scope="module")
def server(request, image, tmp_path_factory):
    if request.param not in toolchain.available():
        pytest.skip(f"{request.param} is not on this machine")
    devices = ["rng", f"blk={image}", "console", "net", "1:console"]
    folder = tmp_path_factory.mktemp("serve")
    with (
        socket_folder() as name,
        Server(
            configuration(request.param), socket_in(name), devices, folder=folder, seed=SEED
        ) as server,
    ):
        yield server
        server.stop()
        events = list(server.events())
    # The monitors found nothing, and every access was counted.
    server.check()
    assert server.report["tlps_checked"] > 0
    assert server.report["interrupts"] == sum(event["kind"] == "interrupt" for event in events)
    messages = server.report["messages_to_device"] + server.report["messages_to_driver"]
    assert messages == sum(event["kind"] == "message" for event in events)


@pytest.fixture
def client(server):
    with Client(server.path) as connected:
        yield connected


@pytest.fixture
def enabled(client):
    """A client whose function answers to its BARs."""
    command = space.MEMORY_SPACE_ENABLE.mask | space.BUS_MASTER_ENABLE.mask
    client.write(CONFIG, space.COMMAND, command.to_bytes(2, "little"))
    return client


def test_it_is_the_endpoint(client):
    sizes = AMP_PCI.bar_sizes(FIFOS, SPSC_PAGES)
    assert {bar: client.region_info(bar)[1] for bar in range(6)} == {
        **dict.fromkeys(range(6), 0),
        **sizes,
    }
    assert client.irq_info(wire.Irq.MSIX)[1] == FIFOS
    config = client.read(CONFIG, 0, 4096)
    assert config[:4] == bytes.fromhex("ee103990") and len(config) == 4096
    assert dict(client.capabilities_of()) == {
        1: space.PM_CAPABILITY,
        0x11: space.MSIX_CAPABILITY,
        0x10: space.PCIE_CAPABILITY,
    }
    for offset, size in ((0, 1), (1, 3), (2, 8), (7, 2)):
        assert client.read(CONFIG, offset, size) == config[offset : offset + size]


def test_every_access_reaches_the_gateware(enabled):
    assert enabled.read32(AMP_PCI.register_bar, AMP_PCI.version_offset) == AMP_PCI.version
    generator = random.Random(SEED)
    shadow = bytearray(256)
    place = 0x1100
    enabled.write(FIFO_BAR, place, bytes(shadow))
    for _ in range(60):
        size = generator.choice((1, 2, 4, 8, generator.randrange(1, 200)))
        offset = generator.randrange(256 - size + 1)
        data = generator.randbytes(size)
        shadow[offset : offset + size] = data
        enabled.write(FIFO_BAR, place + offset, data, posted=generator.random() < 0.5)
        at, count = (generator.randrange(0, 128) for _ in range(2))
        assert enabled.read(FIFO_BAR, place + at, count + 1) == shadow[at : at + count + 1]
    size = AMP_PCI.bar_sizes(FIFOS, SPSC_PAGES)[FIFO_BAR]
    whole = enabled.read(FIFO_BAR, 0, size)
    assert len(whole) == size and whole[place : place + 256] == shadow


def test_memory_space_off_is_refused(client):
    with pytest.raises(RefusedError) as caught:
        client.read(0, 0, 4)
    assert caught.value.code == errno.EIO
    client.write(0, 0, b"1234")
    client.write32(CONFIG, space.COMMAND, space.MEMORY_SPACE_ENABLE.mask)
    assert client.read32(0, 0) == AMP_PCI.version


def test_software_may_size_and_move_the_bars(enabled):
    masks = {}
    for bar in range(3):
        enabled.write32(CONFIG, space.bar_offset(bar), 0xFFFF_FFFF)
        masks[bar] = enabled.read32(CONFIG, space.bar_offset(bar)) & ~0xF
    assert {bar: (1 << 32) - mask for bar, mask in masks.items()} == AMP_PCI.bar_sizes(
        FIFOS, SPSC_PAGES
    )
    # All at one place, as after a reset by QEMU: the table is still the bridge's to fill in.
    for bar in range(3):
        enabled.write32(CONFIG, space.bar_offset(bar), 0)
    signal = os.eventfd(0)
    enabled.assign(0, [signal])
    os.close(signal)
    assert [enabled.read32(CONFIG, space.bar_offset(bar)) & ~0xF for bar in range(3)] == [0] * 3
    for bar, place in enumerate((0xFEBF_0000, 0xE000_0000, 0xFEBF_4000)):
        enabled.write32(CONFIG, space.bar_offset(bar), place)
    assert enabled.read32(AMP_PCI.register_bar, 0) == AMP_PCI.version
    control = enabled.read32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0))
    others = [enabled.read32(AMP_PCI.msix_bar, AMP_PCI.msix_control(n)) for n in range(1, FIFOS)]
    assert (control, others) == (0, [1] * (FIFOS - 1))


def test_masks(enabled):
    """An interrupt waits in the gateware for its eventfd, its mask and MSI-X itself."""
    signal = os.eventfd(0, os.EFD_NONBLOCK)

    def is_pending():
        return enabled.read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 1)[0] & 1

    enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
    ask(enabled, 1)
    wait_for(is_pending)
    enabled.assign(0, [signal])
    wait_for(lambda: pending(signal))
    assert not is_pending()
    mask = space.MSIX_ENABLE.mask | space.MSIX_FUNCTION_MASK.mask
    steps = (
        (
            lambda: enabled.set_irqs(IrqSetFlags.DATA_NONE | IrqSetFlags.ACTION_MASK, 0, 1),
            lambda: enabled.set_irqs(IrqSetFlags.DATA_NONE | IrqSetFlags.ACTION_UNMASK, 0, 1),
        ),
        (
            lambda: enabled.write32(CONFIG, space.MSIX_ENABLE.offset, mask),
            lambda: enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask),
        ),
        (
            lambda: enabled.write32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0), 1),
            lambda: enabled.write32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0), 0),
        ),
        (
            lambda: enabled.write32(CONFIG, space.COMMAND, space.MEMORY_SPACE_ENABLE.mask),
            lambda: enabled.write32(CONFIG, space.COMMAND, 6),
        ),
    )
    for number, (close, reopen) in enumerate(steps, start=2):
        close()
        ask(enabled, number)
        wait_for(is_pending)
        assert pending(signal) == 0
        reopen()
        wait_for(lambda: pending(signal))
    message, count = answer(enabled)
    assert (message.token, count) == (5, 5)
    # What software masked in the table itself stays so, whatever becomes of other vectors.
    enabled.write32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0), 1)
    enabled.assign(1, [signal])
    assert enabled.read32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0)) == 1
    assert enabled.read32(AMP_PCI.msix_bar, AMP_PCI.msix_control(1)) == 0
    os.close(signal)


@pytest.mark.parametrize("before", range(60, 68))
def test_work_goes_on_without_another_access(enabled, before):
    """However many writes the doorbell comes after, in one burst or one by one."""
    signal = os.eventfd(0, os.EFD_NONBLOCK)
    enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
    enabled.assign(0, [signal])
    base = SPSC_PAGES.driver_queue_base(0)
    enabled.write(FIFO_BAR, base + SPSC_PAGES.queue.slots_offset, get_devices(7))
    head = enabled.read32(FIFO_BAR, base) + 1
    burst = [Message(id=1, command=Command.REGION_WRITE, flags=Flags.NO_REPLY) for _ in range(2)]
    filler, doorbell = burst
    filler.payload = wire.REGION_ACCESS.pack(base, FIFO_BAR, 4) + head.to_bytes(4, "little")
    doorbell.payload = wire.REGION_ACCESS.pack(AMP_PCI.notify(0), 0, 4) + b"\1\0\0\0"
    enabled.send_raw(filler.pack() * before + doorbell.pack())
    wait_for(lambda: pending(signal))
    # Answered, and the gateware has still to act.
    enabled.write(FIFO_BAR, base + SPSC_PAGES.queue.slot_offset(head), get_devices(8))
    enabled.write32(FIFO_BAR, base, head + 1)
    enabled.write(0, AMP_PCI.notify(0), b"\1\0\0\0")
    wait_for(lambda: pending(signal))
    os.close(signal)


@pytest.mark.parametrize("how", ["DEVICE_RESET", "software"])
def test_reset(enabled, how):
    """Twice, with messages waiting; afterwards it works as before."""
    signal = os.eventfd(0, os.EFD_NONBLOCK)
    for _ in range(2):
        enabled.write(CONFIG, space.COMMAND, b"\6\0")
        enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
        enabled.assign(0, [signal])
        ask(enabled, 3)
        wait_for(lambda: pending(signal))
        if how == "DEVICE_RESET":
            enabled.reset()
            enabled.reset()
        else:
            control = enabled.read32(CONFIG, space.DEVICE_CONTROL) & 0xFFFF
            enabled.write32(CONFIG, space.DEVICE_CONTROL, control | space.INITIATE_FLR.mask)
        assert enabled.read(CONFIG, space.COMMAND, 2) == b"\0\0"
        enabled.write(CONFIG, space.COMMAND, b"\2\0")
        assert answer(enabled) == (None, 0)
        assert enabled.read32(0, 0) == AMP_PCI.version
    os.close(signal)


def test_power_states(enabled):
    """What becomes of vectors while the function sleeps is in the table when it wakes."""
    power = space.POWER_STATE.offset
    signal = os.eventfd(0, os.EFD_NONBLOCK)
    enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
    enabled.write32(CONFIG, power, space.POWER_D3HOT)
    with pytest.raises(RefusedError):
        enabled.read(0, 0, 4)
    enabled.assign(0, [signal])
    enabled.write32(CONFIG, power, space.POWER_D0)
    ask(enabled, 9)
    wait_for(lambda: pending(signal))
    os.close(signal)


def test_a_client_that_goes_leaves_nothing(server):
    """In the middle of an access, of a message, with writes under way; the next one starts anew."""
    for number in range(4):
        client = Client(server.path)
        client.write(CONFIG, space.COMMAND, b"\6\0")
        assert client.read32(FIFO_BAR, 0x1000) == 0
        assert client.read32(FIFO_BAR, 0x2000) == 0
        ask(client, number)
        for at in range(200):
            client.write(FIFO_BAR, 0x1000 + at % 8, b"x", posted=True)
        if number == 1:
            client.send(Command.REGION_READ, wire.REGION_ACCESS.pack(0, 1, 0x8000))
        if number == 2:
            client.send_raw(b"half a header"[:8])
        if number == 3:
            client.send(Command.DEVICE_RESET)
        client.close()
    with Client(server.path) as client:
        assert client.read(CONFIG, space.COMMAND, 2) == b"\0\0"
        # What function-level reset spares.
        control = client.read32(CONFIG, space.DEVICE_CONTROL)
        assert space.MAX_PAYLOAD_SIZE.of(control) == 0
        client.write32(CONFIG, space.DEVICE_CONTROL, 2 << space.MAX_PAYLOAD_SIZE.lsb)
    with Client(server.path) as client:
        control = client.read32(CONFIG, space.DEVICE_CONTROL)
        assert space.MAX_PAYLOAD_SIZE.of(control) == 0


def test_a_client_that_goes_leaves_no_device_running(server):
    async def bring_up(host, driver):
        entropy = await driver.probe(0)
        assert await entropy.status() & Status.DRIVER_OK

    async def look(host, driver):
        entropy = await driver.device(0)
        assert await entropy.status() == 0

    with_host(server, bring_up)
    with_host(server, look)


def test_random_configuration(server):
    """Whatever software writes there, nothing hangs, and the next client finds all well."""
    seed = new_seed()
    print(f"seed {seed}")
    generator = random.Random(seed)
    with Client(server.path) as client:
        for _ in range(200):
            size = generator.choice((1, 2, 4, 8))
            offset = generator.choice((generator.randrange(0x80), generator.randrange(4096)))
            offset = min(offset, 4096 - size)
            client.write(CONFIG, offset, generator.randbytes(size))
            if generator.random() < 0.3:
                client.write(FIFO_BAR, 0x1000, generator.randbytes(4), posted=True)
                client.write(0, AMP_PCI.notify(0), b"\1\0\0\0", posted=True)
            if generator.random() < 0.3:
                with contextlib.suppress(RefusedError):
                    client.read(generator.randrange(3), 0x40, 8)
            if generator.random() < 0.1:
                signal = os.eventfd(0)
                client.assign(0, [signal])
                os.close(signal)
        assert client.read(CONFIG, 0, 4) == bytes.fromhex("ee103990")
    with Client(server.path) as client:
        client.write(CONFIG, space.COMMAND, b"\6\0")
        assert client.read32(0, 0) == AMP_PCI.version


def test_the_whole_exchange(server, image):
    """Every device at work, its data in the guest's own memory."""

    async def program(host, driver):
        await driver.ping(0x1234)
        assert await driver.discover() == [0, 1, 2, 3]
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        data = await entropy.read(600, request_size=300)
        source = random.Random(SEED)
        assert data == source.randbytes(300) + source.randbytes(300)

        disk = await BlockDriver.probe(driver, 1, host.memory)
        content = random.Random(1).randbytes(4 * SECTOR)
        await disk.write(8, content)
        await disk.flush()
        assert await disk.read(8, 4) == content
        assert image.read_bytes()[8 * SECTOR : 12 * SECTOR] == content

        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        await talk.write(b"out\n")
        server.type("in\n")
        assert await talk.read_line() == b"in\n"

        network = await NetworkDriver.probe(driver, 3, host.memory)
        mac = await network.resolve(OWN_IP, PEER_IP)
        assert mac == PEER_MAC
        assert await network.ping(OWN_IP, mac, PEER_IP, sequence=1, payload=b"ping") == b"ping"
        assert host.interrupts[0] > 20 and not host.interrupts[1]

    with_host(server, program)


def test_each_fifo_has_its_own_devices(server):
    async def program(host, driver):
        other = driver_of(host, 1)
        await other.start()
        assert await other.discover() == [0]
        await other.probe(0)
        other.stop()

    with_host(server, program)


def test_memory_that_is_not_there(server):
    """A read of memory that nobody mapped is refused, as the device sees; a write goes nowhere."""

    async def program(host, driver):
        nowhere = Buffer(MEMORY_BASE - 2 * PAGE, 64)
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        before = bytes(host.memory.bytes)
        assert await entropy.transfer(0, [], [nowhere]) == 64
        after = bytes(host.memory.bytes)
        # The ring's two ends, and nothing else.
        assert sum(old != new for old, new in zip(before, after, strict=True)) < 32
        talk = await ConsoleDriver.probe(driver, 2, host.memory)
        with pytest.raises(DeviceFailedError):
            await talk.transfer(1, [nowhere], [])
        status = host.client.read32(CONFIG, space.COMMAND)
        assert space.RECEIVED_MASTER_ABORT.of(status)

    with_host(server, program)


def test_memory_goes_while_it_is_used(server):
    """DMA_UNMAP under a transfer: after its reply nothing more is read or written there."""
    size = 1 << 18

    async def program(host, driver):
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        address = host.memory.allocate(size)
        start = address - MEMORY_BASE
        await entropy.submit(0, [], [Buffer(address, size)])
        while not any(host.memory.bytes[start : start + 64]):
            await asyncio.sleep(0)
        host.client.unmap(MEMORY_BASE, MEMORY_SIZE)
        left = bytes(host.memory.bytes)
        assert not any(left[start + size - 64 : start + size]), "it was over already"
        await asyncio.sleep(0.3)
        assert bytes(host.memory.bytes) == left
        # The device wrote on, and knows of nothing: writes are posted.
        host.client.map(host.memory.file, MEMORY_BASE, MEMORY_SIZE)
        again = await EntropyDriver.probe(driver, 0, host.memory)
        assert len(await again.read(64)) == 64

    with_host(server, program)


def test_an_idle_guest_costs_nothing(server):
    with Client(server.path) as client:
        client.write(CONFIG, space.COMMAND, b"\6\0")
        assert client.read32(0, 0) == AMP_PCI.version
        time.sleep(0.2)
        before = os.times()
        process = _processor_time(server)
        time.sleep(1.0)
        assert _processor_time(server) - process <= 0.02
        assert os.times().user - before.user < 0.5


def _processor_time(server):
    """Seconds that children of this process have used, of those that run the simulation."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    total += int(fields[11]) + int(fields[12])
    return total / ticks
