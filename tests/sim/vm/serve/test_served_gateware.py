# SPDX-License-Identifier: BSD-2-Clause
"""The served gateware through a vfio-user client: accesses, interrupts, resets, disconnects."""

import contextlib
import errno
import os
import random
import time

import pytest
from builds import BUILDS
from by_hand import answer, ask, get_devices, pending, wait_until
from vfio_host import SEED

from models import config_space as space
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from sim.run import new_seed
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import Client, RefusedError
from sim.vm.vfio_user.wire import ClientMessage, Command, Flags, IrqSetFlags

FIFOS, _ = BUILDS["endpoint"]
CONFIG = wire.CONFIG_REGION
FIFO_BAR = AMP_PCI.fifo_bar


def test_regions_and_capabilities_are_the_endpoints(client):
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


def test_access_without_memory_space_is_refused(client):
    with pytest.raises(RefusedError) as caught:
        client.read(0, 0, 4)
    assert caught.value.code == errno.EIO
    client.write(0, 0, b"1234")
    client.write32(CONFIG, space.COMMAND, space.MEMORY_SPACE_ENABLE.mask)
    assert client.read32(0, 0) == AMP_PCI.version


def test_bars_can_be_sized_and_moved(enabled):
    masks = {}
    for bar in range(3):
        enabled.write32(CONFIG, space.bar_offset(bar), 0xFFFF_FFFF)
        masks[bar] = enabled.read32(CONFIG, space.bar_offset(bar)) & ~0xF
    assert {bar: (1 << 32) - mask for bar, mask in masks.items()} == AMP_PCI.bar_sizes(
        FIFOS, SPSC_PAGES
    )
    # All BARs at one address, as after a reset by QEMU: the bridge can still write the table.
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


def test_masked_interrupt_stays_pending(enabled):
    """An interrupt is pending without eventfd, while masked, and while MSI-X is masked."""
    signal = os.eventfd(0, os.EFD_NONBLOCK)

    def is_pending():
        return enabled.read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 1)[0] & 1

    enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
    ask(enabled, 1)
    wait_until(is_pending)
    enabled.assign(0, [signal])
    wait_until(lambda: pending(signal))
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
        wait_until(is_pending)
        assert pending(signal) == 0
        reopen()
        wait_until(lambda: pending(signal))
    message, count = answer(enabled)
    assert (message.token, count) == (5, 5)
    # A vector that software masked in the table stays masked when other vectors change.
    enabled.write32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0), 1)
    enabled.assign(1, [signal])
    assert enabled.read32(AMP_PCI.msix_bar, AMP_PCI.msix_control(0)) == 1
    assert enabled.read32(AMP_PCI.msix_bar, AMP_PCI.msix_control(1)) == 0
    os.close(signal)


@pytest.mark.parametrize("before", range(60, 68))
def test_doorbell_is_processed_without_another_access(enabled, before):
    """After any number of writes before the doorbell, in one burst or one by one."""
    signal = os.eventfd(0, os.EFD_NONBLOCK)
    enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
    enabled.assign(0, [signal])
    base = SPSC_PAGES.driver_queue_base(0)
    enabled.write(FIFO_BAR, base + SPSC_PAGES.queue.slots_offset, get_devices(7))
    head = enabled.read32(FIFO_BAR, base) + 1
    burst = [
        ClientMessage(id=1, command=Command.REGION_WRITE, flags=Flags.NO_REPLY) for _ in range(2)
    ]
    filler, doorbell = burst
    filler.payload = wire.REGION_ACCESS.pack(base, FIFO_BAR, 4) + head.to_bytes(4, "little")
    doorbell.payload = wire.REGION_ACCESS.pack(AMP_PCI.notify(0), 0, 4) + b"\1\0\0\0"
    enabled.send_raw(filler.pack() * before + doorbell.pack())
    wait_until(lambda: pending(signal))
    # The write has its reply before the gateware has processed it.
    enabled.write(FIFO_BAR, base + SPSC_PAGES.queue.slot_offset(head), get_devices(8))
    enabled.write32(FIFO_BAR, base, head + 1)
    enabled.write(0, AMP_PCI.notify(0), b"\1\0\0\0")
    wait_until(lambda: pending(signal))
    os.close(signal)


@pytest.mark.parametrize("how", ["DEVICE_RESET", "software"])
def test_reset_with_pending_messages(enabled, how):
    """Two resets with pending messages; the endpoint works afterwards."""
    signal = os.eventfd(0, os.EFD_NONBLOCK)
    for _ in range(2):
        enabled.write(CONFIG, space.COMMAND, b"\6\0")
        enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
        enabled.assign(0, [signal])
        ask(enabled, 3)
        wait_until(lambda: pending(signal))
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


def test_vectors_assigned_in_d3hot_are_set_in_d0(enabled):
    """Vectors assigned in D3hot are in the table after the return to D0."""
    power = space.POWER_STATE.offset
    signal = os.eventfd(0, os.EFD_NONBLOCK)
    enabled.write32(CONFIG, space.MSIX_ENABLE.offset, space.MSIX_ENABLE.mask)
    enabled.write32(CONFIG, power, space.POWER_D3HOT)
    with pytest.raises(RefusedError):
        enabled.read(0, 0, 4)
    enabled.assign(0, [signal])
    enabled.write32(CONFIG, power, space.POWER_D0)
    ask(enabled, 9)
    wait_until(lambda: pending(signal))
    os.close(signal)


def test_disconnect_resets_endpoint(server):
    """During an access, during a message, with writes in flight; the next client starts fresh."""
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
        # Device Control is not affected by function-level reset.
        control = client.read32(CONFIG, space.DEVICE_CONTROL)
        assert space.MAX_PAYLOAD_SIZE.of(control) == 0
        client.write32(CONFIG, space.DEVICE_CONTROL, 2 << space.MAX_PAYLOAD_SIZE.lsb)
    with Client(server.path) as client:
        control = client.read32(CONFIG, space.DEVICE_CONTROL)
        assert space.MAX_PAYLOAD_SIZE.of(control) == 0


def test_random_configuration_writes(server):
    """No configuration write hangs the server or affects the next client."""
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


def test_idle_guest_uses_no_processor_time(server):
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
    """Processor seconds of this process's children, which run the simulation."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
                if int(fields[1]) == os.getpid():
                    total += int(fields[11]) + int(fields[12])
    return total / ticks
