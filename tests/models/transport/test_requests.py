# SPDX-License-Identifier: BSD-2-Clause
"""Transport revision 1, responses and states of a device: rows DEV of docs/conformance.md."""

import asyncio
import struct
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED, Exchange, ask, settle
from transport_support import (
    EVERY_REQUEST,
    PROFILES,
    SlowDrain,
    avail,
    console,
    every_request,
    get_queue,
    negotiate,
    select,
    set_queue,
    start,
)

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice, VirtioDevice
from models.dma import DmaError
from models.drivers import BlockDriver
from models.handlers import Drop
from models.messages import R1, MessageKind, decode, request
from models.system import ModelSystem
from models.transport import Transport
from models.virtio import Feature


def test_every_request_is_answered():
    """Each of the eleven requests, including GET_SHM, has one response at any status."""
    exchange = console()
    for status in (0, 1, 3):
        ask(exchange, "SET_DEVICE_STATUS", status=status)
        for message in every_request(token=0x55AA):
            answers = exchange.ask_bytes(message.wire())
            assert [(a.name, a.kind, a.dev_num, a.token) for a in answers] == [
                (message.name, MessageKind.RESPONSE, 0, 0x55AA)
            ]
    assert len(EVERY_REQUEST) == 11
    assert exchange.transport.drops.total() == 0


@pytest.mark.parametrize("token", [0, 1, 0x00FF, 0xFF00, 0xFFFF])
def test_token_is_echoed(token):
    exchange = console()
    for message in every_request(token=token):
        (answer,) = exchange.ask_bytes(message.wire())
        assert answer.token == token
    # Two requests may have the same token.
    twice = [ask(exchange, "GET_CONFIG", token=token, offset=at, length=2).data for at in (0, 2)]
    assert twice == [b"\x50\0", b"\x19\0"]


def test_bytes_after_a_message_are_ignored():
    """The rest of the slot belongs to the bus and may have any contents."""
    clean, dirty = console(), console()
    for message in every_request():
        raw = message.encode()
        clean.ask_bytes(raw.ljust(64, b"\0"))
        dirty.ask_bytes(raw.ljust(64, b"\xee"))
    assert dirty.sent == clean.sent
    for raw in dirty.sent:
        size = decode(raw, R1).msg_size
        assert len(raw) == 64 and raw[size:] == bytes(64 - size)


def test_malformed_requests_are_dropped():
    """Requests with invalid sizes or counts, and truncated ones, are dropped."""
    exchange = console()
    ask(exchange, "SET_DEVICE_STATUS", status=1)
    broken = []
    for message in every_request():
        raw = message.encode()
        if len(raw) > 8:
            broken.append(raw[:6] + struct.pack("<H", len(raw) - 1) + raw[8:])
        broken += [
            raw[:6] + struct.pack("<H", 65) + raw[8:],
            raw[:6] + struct.pack("<H", 7) + raw[8:],
        ]
    for name in ("GET_DEVICE_FEATURES", "SET_DRIVER_FEATURES"):
        msg_id = R1.layout(name, MessageKind.REQUEST).msg_id
        for count in (0, 13, 0xFFFF_FFFF):
            broken.append(struct.pack("<BBHHHII", 0, msg_id, 0, 1, 16, 0, count))
    # More data than msg_size covers.
    broken.append(struct.pack("<BBHHHIII", 0, 6, 0, 1, 24, 0, 8, 8) + b"A" * 8)
    for raw in broken:
        assert exchange.ask_bytes(raw.ljust(64, b"\0")) == []
    assert exchange.transport.drops.total() == len(broken)
    for length in range(64):
        raw = every_request()[8].encode()[:length]
        assert len(exchange.ask_bytes(raw)) == (length >= 48)
    device = exchange.transport.devices[0]
    assert (device.status, device.selected, device.generation) == (1, 0, 0)


@FIXED
@given(slots=st.lists(st.binary(min_size=0, max_size=64), min_size=1, max_size=8))
def test_any_bytes_get_at_most_one_response(slots):
    """Half of the examples have the header of a known message."""

    async def run():
        sent = []

        async def send(raw):
            sent.append(raw)

        transport = Transport({0: ConsoleDevice()}, send, R1)
        for n, slot in enumerate(slots):
            raw = slot.ljust(64, b"\0")
            if n % 2:
                layout = R1.messages[raw[0] % len(R1.messages)]
                raw = (
                    struct.pack(
                        "<BBHHH", layout.type_bits, layout.msg_id, 0, 7, max(8, raw[1] % 65)
                    )
                    + raw[8:]
                )
            before = len(sent), transport.drops.total()
            await transport.receive(raw)
            (*answers,) = sent[before[0] :]
            dropped = transport.drops.total() - before[1]
            assert len(answers) + dropped <= 1
            for answer in answers:
                message = decode(answer, R1)
                assert message.kind is MessageKind.RESPONSE
                assert (message.layout.msg_id, message.bus) == (raw[1], bool(raw[0] & 2))
                assert message.msg_size == message.layout.exact_size(message.fields) <= 64
                assert answer[2:6] == raw[2:6]

    asyncio.run(run())


DEVICES = [VirtioDevice(), EntropyDevice(), ConsoleDevice(), NetworkDevice(), BlockDevice()]


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: type(device).__name__)
def test_device_info(device):
    exchange = Exchange({0: device}, R1)
    info = ask(exchange, "GET_DEVICE_INFO")
    assert (info.device_id, info.config_size) == (device.device_id, device.config_size)
    assert info.max_virtqueues == len(device.queues) <= 65536
    assert info.num_feature_blocks * 32 >= device.offered.bit_length()
    assert (info.admin_vq_start, info.admin_vq_count) == (0, 0)
    assert info.admin_vq_start + info.admin_vq_count <= info.max_virtqueues
    # Exactly the counted queues exist.
    for index in range(info.max_virtqueues + 2):
        assert bool(get_queue(exchange, index=index)[0]) == (index < info.max_virtqueues)


def test_device_info_at_any_status():
    exchange = console()
    first = exchange.ask(request("GET_DEVICE_INFO", revision=R1))
    start(exchange)
    assert exchange.ask(request("GET_DEVICE_INFO", revision=R1)) == first
    exchange.transport.devices[0].needs_reset()
    assert exchange.ask(request("GET_DEVICE_INFO", revision=R1)) == first
    for status in (0, 1, 3, 0x83):
        ask(exchange, "SET_DEVICE_STATUS", status=status)
        assert exchange.ask(request("GET_DEVICE_INFO", revision=R1)) == first


def test_uuid():
    with_uuid, without_uuid = ConsoleDevice(), ConsoleDevice()
    with_uuid.uuid = uuid4()
    exchange = Exchange({0: with_uuid, 1: without_uuid}, R1)
    raw = ask(exchange, "GET_DEVICE_INFO").device_uuid
    assert raw == with_uuid.uuid.bytes and (raw[6] >> 4, raw[8] >> 6) == (4, 0b10)
    assert ask(exchange, "GET_DEVICE_INFO", 1).device_uuid == bytes(16)


def test_feature_blocks():
    exchange = console()
    device = exchange.transport.devices[0]
    offer = [device.offered & 0xFFFF_FFFF, device.offered >> 32]

    def offered(index, num):
        answer = ask(exchange, "GET_DEVICE_FEATURES", block_index=index, num_blocks=num)
        assert (answer.block_index, answer.num_blocks) == (index, num)
        return list(answer.features)

    assert offered(0, 12) == offer + [0] * 10
    assert offered(1, 1) == offer[1:]
    assert offered(2, 4) == [0] * 4 and offered(0xFFFF_FFFF, 2) == [0, 0]
    negotiated = [1, 1]
    for index, word in enumerate(negotiated):
        ask(exchange, "SET_DRIVER_FEATURES", block_index=index, features=[word])
    assert device.selected == 1 << 32 | 1
    # A write to one block keeps the other.
    ask(exchange, "SET_DRIVER_FEATURES", block_index=0, features=[4])
    assert device.selected == 1 << 32 | 4
    ask(exchange, "SET_DRIVER_FEATURES", block_index=1, features=[3])
    assert device.selected == 3 << 32 | 4
    assert offered(0, 2) == offer


@pytest.mark.parametrize("bit", [Feature.NOTIFICATION_DATA, Feature.NOTIF_CONFIG_DATA])
def test_forbidden_features_are_not_offered(bit):
    with pytest.raises(ValueError, match=f"must be without {bit.name}"):
        VirtioDevice(features=bit.mask)
    for device in DEVICES:
        assert not device.offered & bit.mask
    exchange = console()
    for status in (0, 1, 3):
        ask(exchange, "SET_DEVICE_STATUS", status=status)
    select(exchange, 0, Feature.VERSION_1.mask | bit.mask)
    assert ask(exchange, "SET_DEVICE_STATUS", status=0xB).status == 3


@pytest.mark.parametrize(
    ("features", "accepted"),
    [
        ({0: [0, 1]}, True),
        ({0: [1, 1]}, True),
        ({0: [0, 0]}, False),
        ({0: [1 << 17, 1]}, False),
        ({0: [0, 1 | 1 << 31]}, False),
        ({0: [0, 1], 2: [1]}, False),
        ({0: [0, 1], 2: [0]}, True),
        ({0: [0, 1], 0xFFFF_FFFF: [1]}, False),
    ],
)
def test_features_ok_depends_on_the_selection(features, accepted):
    exchange = console()
    for status in (0, 1, 3):
        ask(exchange, "SET_DEVICE_STATUS", status=status)
    for index, words in features.items():
        ask(exchange, "SET_DRIVER_FEATURES", block_index=index, features=words)
    assert ask(exchange, "SET_DEVICE_STATUS", status=0xB).status == (0xB if accepted else 3)
    assert ask(exchange, "GET_DEVICE_STATUS").status == (0xB if accepted else 3)
    # DRIVER_OK is not set without FEATURES_OK.
    assert ask(exchange, "SET_DEVICE_STATUS", status=0xF).status == (0xF if accepted else 3)


def test_status_responses_match_the_device():
    """The response to each write has the same status as GET_DEVICE_STATUS and the device."""
    exchange = console()
    device = exchange.transport.devices[0]
    for status in (1, 3, 0x100, 0xFFFF_FF00, 0x4F, 7, 0x80, 0xFFFF_FFFF, 0, 0x40, 0):
        answer = ask(exchange, "SET_DEVICE_STATUS", status=status)
        assert answer.status == ask(exchange, "GET_DEVICE_STATUS").status == device.status
    assert device.status == 0
    start(exchange)
    device.needs_reset()
    assert ask(exchange, "GET_DEVICE_STATUS").status == 0x4F
    assert ask(exchange, "SET_DEVICE_STATUS", status=0xF).status == 0x4F


async def slow_exchange():
    exchange = Exchange({0: SlowDrain(), 1: ConsoleDevice()}, R1)
    device = exchange.transport.devices[0]
    for status in (1, 3):
        device.write_status(status)
    device.select_word(1, 1 | 1 << Feature.RING_RESET - 32)
    device.write_status(0xB)
    device.queues[0].configure(size=16, descriptor_addr=0, driver_addr=0, device_addr=0)
    device.write_status(0xF)
    assert device.running
    return exchange, device


async def responses_around_drain(*messages):
    """Responses before and after the last access of the device completes."""
    exchange, device = await slow_exchange()

    async def send_all():
        for message in messages:
            await exchange.transport.receive(message.wire())

    sending = asyncio.create_task(send_all())
    await settle()
    before = len(exchange.sent)
    device.gate.set()
    await sending
    answers = [decode(raw, R1) for raw in exchange.sent]
    return answers[:before], answers[before:], device


async def test_reset_response_waits_for_the_last_access():
    """No response has status 0 before that, not even to a later request."""
    before, after, device = await responses_around_drain(
        request("SET_DEVICE_STATUS", revision=R1, token=1, status=0),
        request("GET_DEVICE_STATUS", revision=R1, token=2),
    )
    assert before == []
    assert [(answer.token, answer.status) for answer in after] == [(1, 0), (2, 0)]
    assert device.status == 0 and not device.queues[0].enabled


async def test_queue_reset_response_waits_for_the_last_access():
    before, after, device = await responses_around_drain(
        request("RESET_VQUEUE", revision=R1, token=1, index=0),
        request("GET_VQUEUE", revision=R1, token=2, index=0),
    )
    assert before == []
    assert [answer.token for answer in after] == [1, 2]
    assert (after[1].cur_size, after[1].flags) == (0, 0)
    assert device.running


def test_notifications_before_driver_ok_are_dropped():
    exchange = console()
    device = exchange.transport.devices[0]
    negotiate(exchange)
    set_queue(exchange)
    assert exchange.ask_bytes(avail()) == []
    assert exchange.transport.drops == {Drop.NOT_RUNNING: 1}
    assert device.queues[0].notifications == 0
    ask(exchange, "SET_DEVICE_STATUS", status=0xF)
    assert exchange.ask_bytes(avail()) == []
    assert device.queues[0].notifications == 1
    device.needs_reset()
    assert exchange.ask_bytes(avail()) == []
    assert device.queues[0].notifications == 1


async def test_writes_cause_no_event():
    """Accepted, refused and stale writes cause responses only, and no event.

    A change before DRIVER_OK sends no event either.
    """
    for dialect in PROFILES.values():
        async with ModelSystem([{0: ConsoleDevice()}], revision=dialect) as system:
            driver, seen = system.drivers[0], []
            driver.event_callbacks.append(seen.append)
            await system.device_side.transports[0].notify_config(0)
            console = await driver.probe(0)
            await console.write_config(8, b"A\0\0\0")
            for generation, offset in ((0, 8), (99, 8), (1, 0), (1, 11)):
                fields = {"generation": generation, "offset": offset, "data": b"BB"}
                await driver.request("SET_CONFIG", dev_num=0, **fields)
            await console.write_status(0x8F)
            await console.reset()
            await driver.ping()
            assert seen == []


async def test_each_change_sends_one_event():
    """Each change sends one event without range and data; GET_CONFIG returns the new contents."""
    async with ModelSystem([{0: ConsoleDevice()}], revision=R1) as system:
        driver, seen = system.drivers[0], []
        driver.event_callbacks.append(seen.append)
        handle = await driver.probe(0)
        transport = system.device_side.transports[0]
        for n in range(1, 4):
            transport.devices[0].resize(100 + n, 40)
            await transport.notify_config(0)
            await driver.ping()
            assert len(seen) == n
            event = seen[-1]
            assert (event.name, event.dev_num, event.device_status) == ("EVENT_CONFIG", 0, 0xF)
            assert (event.generation, event.offset, event.length) == (n, 0, 0)
            assert (event.data, event.msg_size) == (b"", 24)
            assert await handle.read_config(0, 2) == bytes([100 + n, 0])


async def test_failure_sends_one_event():
    """A failure sends one status event without a range, then nothing until a reset."""
    device = BlockDevice(sectors=8)
    async with ModelSystem([{0: device}], revision=R1) as system:
        seen, memory = [], system.host.memory
        system.drivers[0].event_callbacks.append(seen.append)
        disk = await BlockDriver.probe(system.drivers[0], 0, memory)
        broken = asyncio.Event()

        async def refuse(address, size):
            broken.set()
            raise DmaError("no completion")

        good, device._link.dma = device._link.dma, _Reads(refuse)
        reading = asyncio.create_task(disk.read(0, 1))
        await broken.wait()
        await settle(100)
        reading.cancel()
        assert [(m.name, m.device_status, m.offset, m.length) for m in seen] == [
            ("EVENT_CONFIG", 0x4F, 0, 0)
        ]
        await system.device_side.transports[0].notify_used(0, 0)
        assert await disk.device.status() == 0x4F
        assert len(seen) == 1
        device._link.dma = good
        again = await disk.restart()
        assert await again.read(0, 1) == bytes(512)


class _Reads:
    def __init__(self, read):
        self.read = read
