# SPDX-License-Identifier: BSD-2-Clause
"""Requests of a client: replies, effects and errors."""

import errno
import os
import struct

import pytest
from memory_server import BAR_SIZES, VECTORS, MemoryServer

from sim.vm.bridge.guest_memory import MOST_MAPPINGS, RESERVED
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import RefusedError
from sim.vm.vfio_user.wire import Command, Flags, IrqSetFlags, MapFlags

PAGE = 0x1000
QUESTIONS = (
    Command.DEVICE_GET_INFO,
    Command.DEVICE_GET_REGION_INFO,
    Command.DEVICE_GET_IRQ_INFO,
)
TRIGGER = IrqSetFlags.ACTION_TRIGGER


@pytest.fixture
def server():
    with MemoryServer() as running:
        yield running


@pytest.fixture
def client(server):
    with server.client() as connected:
        yield connected


@pytest.fixture
def memory():
    file = os.memfd_create("guest")
    os.ftruncate(file, 16 * PAGE)
    yield file
    os.close(file)


def refused(code, call, *arguments, **options):
    with pytest.raises(RefusedError) as caught:
        call(*arguments, **options)
    assert caught.value.code == code, caught.value


def test_capabilities_are_limited_by_both_ends(server):
    with server.client(negotiate=False) as client:
        proposed = {
            "max_msg_fds": 1,
            "max_data_xfer_size": 1 << 30,
            "max_dma_maps": 65535,
            "migration": {"pgsize": 4096},
        }
        assert client.version(capabilities=proposed) == {
            "max_msg_fds": 1,
            "max_data_xfer_size": wire.MOST_DATA,
            "max_dma_maps": MOST_MAPPINGS,
        }
        refused(errno.EINVAL, client.version)


def test_version_without_capabilities(server):
    with server.client(negotiate=False) as client:
        answer = client.request(Command.VERSION, wire.VERSION.pack(wire.MAJOR, 7))
        assert answer == wire.VERSION.pack(wire.MAJOR, wire.MINOR)
        assert client.read(0, 0, 4) == bytes(4)


@pytest.mark.parametrize(
    "payload, code",
    [
        (b"", errno.EINVAL),
        (wire.VERSION.pack(wire.MAJOR, 0) + b"no JSON\0", errno.EINVAL),
        (wire.VERSION.pack(wire.MAJOR, 0) + b'{"capabilities":7}\0', errno.EINVAL),
        (wire.VERSION.pack(wire.MAJOR, 0) + b'{"capabilities":{"max_msg_fds":0}}\0', errno.EINVAL),
        (
            wire.VERSION.pack(wire.MAJOR, 0) + b'{"capabilities":{"max_msg_fds":true}}\0',
            errno.EINVAL,
        ),
        (wire.VERSION.pack(wire.MAJOR, 0) + b"[" * 100_000, errno.EINVAL),
    ],
)
def test_invalid_version_is_refused(server, payload, code):
    with server.client(negotiate=False) as client:
        refused(code, client.request, Command.VERSION, payload)
        assert client.version()


def test_other_major_version_ends_session(server):
    with server.client(negotiate=False) as client:
        refused(errno.ENOTSUP, client.version, major=wire.MAJOR + 1)
        with pytest.raises(ConnectionError):
            client.receive()


def test_request_before_version_ends_session(server):
    with server.client(negotiate=False) as client:
        refused(errno.EINVAL, client.read, 0, 0, 4)
        with pytest.raises(ConnectionError):
            client.receive()


def test_regions_and_interrupts(client):
    info = client.request(
        Command.DEVICE_GET_INFO, wire.DEVICE_INFO.pack(wire.DEVICE_INFO.size, 0, 0, 0)
    )
    assert wire.DEVICE_INFO.unpack(info) == (16, 3, 9, 5)
    sizes = [client.region_info(index) for index in range(wire.REGIONS)]
    expected = [(3, BAR_SIZES[bar]) for bar in range(3)] + [(0, 0)] * 4 + [(3, 4096), (0, 0)]
    assert sizes == expected
    assert [client.irq_info(index) for index in range(5)] == [
        (0, 0),
        (0, 0),
        (3, VECTORS),
        (1, 1),
        (0, 0),
    ]
    refused(errno.EINVAL, client.region_info, wire.REGIONS)
    refused(errno.EINVAL, client.irq_info, 5)


@pytest.mark.parametrize(
    "command, layout",
    [
        (Command.DEVICE_GET_INFO, wire.DEVICE_INFO),
        (Command.DEVICE_GET_REGION_INFO, wire.REGION_INFO),
        (Command.DEVICE_GET_IRQ_INFO, wire.IRQ_INFO),
        (Command.DMA_MAP, wire.DMA_MAP),
        (Command.DMA_UNMAP, wire.DMA_UNMAP),
        (Command.REGION_READ, wire.REGION_ACCESS),
    ],
)
def test_payload_sizes_are_checked(client, command, layout):
    valid = struct.pack("=I", layout.size).ljust(layout.size, b"\0")
    for payload in (b"", valid[:-1]):
        refused(errno.EINVAL, client.request, command, payload)
    if command in QUESTIONS:
        # Space for a longer reply: SPDK reserves a page.
        long_payload = struct.pack("=I", 4064).ljust(4064, b"\0")
        assert len(client.request(command, long_payload)) == layout.size
    else:
        refused(errno.EINVAL, client.request, command, valid + b"\0")
    if command != Command.REGION_READ:
        short = struct.pack("=I", layout.size - 1).ljust(layout.size, b"\0")
        refused(errno.EINVAL, client.request, command, short)
    if command in QUESTIONS:
        flagged = struct.pack("=II", layout.size, 4).ljust(layout.size, b"\0")
        refused(errno.EINVAL, client.request, command, flagged)


@pytest.mark.parametrize("region", [0, 1, 2, wire.CONFIG_REGION])
def test_region_accesses(client, server, region):
    size = BAR_SIZES.get(region, 4096)
    client.write(region, 8, b"\1\2\3\4\5\6\7\x08")
    assert client.read(region, 6, 12) == b"\0\0\1\2\3\4\5\6\7\x08\0\0"
    client.write(region, size - 1, b"x", posted=True)
    assert client.read(region, size - 1, 1) == b"x"
    for offset, count in ((0, 0), (size, 1), (size - 1, 2), (1 << 63, 4), ((1 << 64) - 1, 1)):
        refused(errno.EINVAL, client.read, region, offset, count)
    refused(errno.EINVAL, client.write, region, size - 1, b"xy")
    assert len(server.errors) == 6


def test_access_to_missing_region_is_refused(client):
    for region in (3, 6, 8, 9, 1 << 31):
        refused(errno.EINVAL, client.read, region, 0, 4)
        refused(errno.EINVAL, client.write, region, 0, b"1234")


def test_count_above_negotiated_limit_is_refused(server):
    with server.client(negotiate=False) as client:
        client.version(capabilities={"max_data_xfer_size": 64})
        assert len(client.read(1, 0, 64)) == 64
        refused(errno.EINVAL, client.read, 1, 0, 65)


def test_write_with_wrong_count_is_refused(client, server):
    access = wire.REGION_ACCESS.pack(0, 1, 4)
    for data in (b"", b"123", b"12345"):
        refused(errno.EINVAL, client.request, Command.REGION_WRITE, access + data)
    assert server.function.bars[1] == bytes(BAR_SIZES[1])


def test_multiple_writes(client, server):
    writes = [(1, 8 * at, bytes([at] * 8)) for at in range(40)] + [(0, 3, b"x")]
    assert client.write_many(writes) == 41
    assert client.read(1, 0, 320) == b"".join(data for _, _, data in writes[:40])
    # If one write is invalid, none is done.
    refused(errno.EINVAL, client.write_many, [(0, 0, b"y"), (0, 0x4000, b"y")])
    assert client.read(0, 0, 4) == b"\0\0\0x"
    count = wire.WRITE_COUNT.pack(1 << 63)
    refused(errno.EINVAL, client.request, Command.REGION_WRITE_MULTI, count)
    nine = wire.WRITE_COUNT.pack(1) + wire.WRITE_OF_MANY.pack(0, 0, 9, b"12345678")
    refused(errno.EINVAL, client.request, Command.REGION_WRITE_MULTI, nine)


def test_posted_writes_are_ordered_and_get_no_reply(client, server):
    for number in range(1000):
        client.write(0, 0, number.to_bytes(8, "little"), posted=True)
    # A refused posted write gets no reply either.
    client.write(0, 0x4000, b"x", posted=True)
    assert client.read(0, 0, 8) == (999).to_bytes(8, "little")
    assert "0x4000" in server.errors[0]


@pytest.mark.parametrize("command", [0, 6, 11, 12, 14, 16, 17, 18, 19, 0xFFFF])
def test_unsupported_commands_are_refused(client, command):
    number = client.send(command, b"whatever it is")
    reply = client.receive()
    assert (reply.id, reply.command, reply.error) == (number, command, errno.ENOTSUP)
    assert reply.flags == Flags.REPLY | Flags.ERROR
    assert client.read(0, 0, 1) == b"\0"


@pytest.mark.parametrize("flags", [Flags.REPLY, 2, 15, Flags.ERROR, 0x40, 1 << 31])
def test_invalid_request_flags_are_refused(client, flags):
    access = wire.REGION_ACCESS.pack(0, 0, 4)
    client.send(Command.REGION_READ, access, flags=flags)
    assert client.receive().error == errno.EINVAL


def test_refused_access_is_io_error(client, server):
    server.function.refuse = True
    refused(errno.EIO, client.read, 0, 0, 4)
    refused(errno.EIO, client.write, 0, 0, b"1234")
    server.function.refuse = False
    assert client.read(0, 0, 4) == bytes(4)


def test_reset(client, server):
    client.reset()
    client.reset()
    assert server.function.resets == 2
    refused(errno.EINVAL, client.request, Command.DEVICE_RESET, b"x")


def test_map_and_unmap(client, server, memory):
    client.map(memory, 0, 4 * PAGE)
    client.map(memory, 1 << 40, 2 * PAGE, offset=8 * PAGE, flags=MapFlags.READABLE)
    client.map(None, 4 * PAGE, PAGE)
    guest = server.function.memory
    assert guest.write(PAGE - 2, b"seam") and os.pread(memory, 4, PAGE - 2) == b"seam"
    os.pwrite(memory, b"deep", 9 * PAGE)
    assert guest.read((1 << 40) + PAGE, 4) == b"deep"
    assert not guest.write(1 << 40, b"read only")
    assert guest.read(4 * PAGE, 1) is None
    for address, size in (
        (0, PAGE),
        (3 * PAGE, 2 * PAGE),
        ((1 << 40) - PAGE, 2 * PAGE),
        (4 * PAGE, PAGE),
    ):
        refused(errno.EEXIST, client.map, memory, address, size)
    refused(errno.ENOENT, client.unmap, 0, PAGE)
    refused(errno.ENOENT, client.unmap, PAGE, 4 * PAGE)
    client.unmap(0, 4 * PAGE)
    assert guest.read(0, 1) is None
    client.map(memory, 0, PAGE)
    client.unmap(0, 0, flags=wire.UNMAP_ALL)
    assert len(guest) == 0
    refused(errno.EINVAL, client.unmap, PAGE, PAGE, flags=wire.UNMAP_ALL)
    refused(errno.EINVAL, client.unmap, 0, PAGE, flags=1)


def test_invalid_mappings_are_refused(client, memory):
    for address, size in (
        (1, PAGE),
        (0, PAGE + 1),
        (0, 0),
        (RESERVED.start, PAGE),
        (RESERVED.start - PAGE, 2 * PAGE),
        ((1 << 64) - PAGE, 2 * PAGE),
    ):
        refused(errno.EINVAL, client.map, memory, address, size)
    refused(errno.EINVAL, client.map, memory, 0, PAGE, flags=4)
    refused(errno.EINVAL, client.map, memory, 0, PAGE, offset=1 << 63)
    reader, writer = os.pipe()
    refused(errno.EINVAL, client.map, reader, 0, PAGE)
    path = f"/proc/self/fd/{memory}"
    read_only = os.open(path, os.O_RDONLY)
    refused(errno.EINVAL, client.map, read_only, 0, PAGE)
    client.map(read_only, 0, PAGE, flags=MapFlags.READABLE)
    appending = os.open(path, os.O_RDWR | os.O_APPEND)
    refused(errno.EINVAL, client.map, appending, PAGE, PAGE)
    for file in (reader, writer, read_only, appending):
        os.close(file)


def test_access_beyond_truncated_file_is_refused(client, server, memory):
    client.map(memory, 0, 16 * PAGE)
    os.ftruncate(memory, PAGE + 2)
    guest = server.function.memory
    assert guest.read(PAGE, 2) == b"\0\0"
    assert guest.read(PAGE, 3) is None
    assert not guest.write(PAGE + 2, b"x") and os.fstat(memory).st_size == PAGE + 2


def test_mappings_above_limit_are_refused(client, memory):
    for number in range(MOST_MAPPINGS):
        client.map(None, number * PAGE, PAGE)
    refused(errno.ENOSPC, client.map, memory, MOST_MAPPINGS * PAGE, PAGE)


def test_interrupt_actions(client, server):
    signals = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]
    client.assign(1, signals[:2])
    assert server.function.unmasked == {1, 2}
    server.function.on_interrupt(2)
    server.function.on_interrupt(2)
    server.function.on_interrupt(0)
    assert os.eventfd_read(signals[1]) == 2
    with pytest.raises(BlockingIOError):
        os.eventfd_read(signals[0])
    # Replace one eventfd and remove another.
    client.assign(2, signals[2:])
    client.set_irqs(IrqSetFlags.DATA_EVENTFD | TRIGGER, 1, 1)
    server.function.on_interrupt(2)
    server.function.on_interrupt(1)
    assert os.eventfd_read(signals[2]) == 1 and server.function.unmasked == {2}
    client.set_irqs(IrqSetFlags.DATA_NONE | TRIGGER, 2, 1)
    client.set_irqs(IrqSetFlags.DATA_BOOL | TRIGGER, 0, 4, data=b"\1\1\0\1")
    assert os.eventfd_read(signals[2]) == 1
    client.set_irqs(IrqSetFlags.DATA_BOOL | IrqSetFlags.ACTION_MASK, 1, 2, data=b"\0\1")
    assert server.function.unmasked == set()
    client.set_irqs(IrqSetFlags.DATA_NONE | IrqSetFlags.ACTION_UNMASK, 0, VECTORS)
    assert server.function.unmasked == {2}
    client.set_irqs(IrqSetFlags.DATA_NONE | TRIGGER, 0, 0)
    assert server.function.unmasked == set()
    server.function.on_interrupt(2)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(signals[2])
    client.set_irqs(
        IrqSetFlags.DATA_EVENTFD | TRIGGER, 0, 1, index=wire.Irq.ERROR, files=signals[:1]
    )
    assert server.function.unmasked == set()
    # Triggering type ERROR signals its own eventfd, not a vector's.
    client.assign(0, signals[1:2])
    client.set_irqs(IrqSetFlags.DATA_NONE | TRIGGER, 0, 1, index=wire.Irq.ERROR)
    assert os.eventfd_read(signals[0]) == 1
    mask = IrqSetFlags.DATA_NONE | IrqSetFlags.ACTION_MASK
    refused(errno.ENOTSUP, client.set_irqs, mask, 0, 1, index=wire.Irq.ERROR)
    assert server.function.unmasked == {0}
    with pytest.raises(BlockingIOError):
        os.eventfd_read(signals[1])
    for signal in signals:
        os.close(signal)


@pytest.mark.parametrize(
    "flags, start, count, options",
    [
        (0, 0, 1, {}),
        (IrqSetFlags.DATA_NONE, 0, 1, {}),
        (TRIGGER, 0, 1, {}),
        (IrqSetFlags.DATA_NONE | IrqSetFlags.DATA_BOOL | TRIGGER, 0, 1, {"data": b"\1"}),
        (IrqSetFlags.DATA_NONE | TRIGGER | IrqSetFlags.ACTION_MASK, 0, 1, {}),
        (IrqSetFlags.DATA_NONE | TRIGGER | 0x40, 0, 1, {}),
        (IrqSetFlags.DATA_NONE | TRIGGER, 0, VECTORS + 1, {}),
        (IrqSetFlags.DATA_NONE | TRIGGER, VECTORS, 1, {}),
        (IrqSetFlags.DATA_NONE | TRIGGER, 0xFFFF_FFFF, 1, {}),
        (IrqSetFlags.DATA_NONE | TRIGGER, 0, 1, {"data": b"\1"}),
        (IrqSetFlags.DATA_BOOL | TRIGGER, 0, 2, {"data": b"\1"}),
        (IrqSetFlags.DATA_EVENTFD | TRIGGER, 0, 0, {}),
        (IrqSetFlags.DATA_NONE | TRIGGER, 0, 1, {"index": 0}),
        (IrqSetFlags.DATA_NONE | TRIGGER, 0, 0, {"index": 9}),
    ],
)
def test_invalid_interrupt_actions_are_refused(client, flags, start, count, options):
    refused(errno.EINVAL, client.set_irqs, flags, start, count, **options)


def test_wrong_number_of_eventfds_is_refused(client, server):
    signals = [os.eventfd(0) for _ in range(2)]
    flags = IrqSetFlags.DATA_EVENTFD | TRIGGER
    refused(errno.EINVAL, client.set_irqs, flags, 0, 3, files=signals)
    refused(errno.EINVAL, client.set_irqs, IrqSetFlags.DATA_NONE | TRIGGER, 0, 1, files=signals[:1])
    mask = IrqSetFlags.DATA_EVENTFD | IrqSetFlags.ACTION_MASK
    refused(errno.ENOTSUP, client.set_irqs, mask, 0, 1, files=signals[:1])
    assert server.function.unmasked == set()
    for signal in signals:
        os.close(signal)


def test_full_eventfd_does_not_block(client, server):
    full = os.eventfd((1 << 32) - 1)
    os.eventfd_write(full, (1 << 64) - (1 << 32) - 1)
    client.assign(0, [full])
    server.function.on_interrupt(0)
    assert client.read(0, 0, 1) == b"\0"
    os.close(full)
