# SPDX-License-Identifier: BSD-2-Clause
"""Helpers of the tests of transport revision 1: a bus connected to a transport, messages, devices.

docs/conformance.md lists the requirement that each test covers.
"""

import asyncio

from model_support import RING, Exchange, ask
from scripted_bus import ScriptedBus

from models.bus import Direction
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, VirtioDevice
from models.messages import R1, TransportFeature, event, request
from models.transport import Transport
from models.virtio import Feature

STRICT = R1.on_bus(features=TransportFeature.STRICT_CONFIG_GENERATION)
PROFILES = {"baseline": R1, "strict": STRICT}
RING_SIZE = 64
ENABLE = 1
KEEP_ALL = 0x3C
"""SET_VQUEUE flags that keep size and addresses."""


class DeviceBus(ScriptedBus):
    """Bus connected to a transport; ``answers`` of the test replace those of the transport."""

    def __init__(self, devices, revision=R1, **answers):
        super().__init__(revision, **answers)
        self.transport = Transport(devices, self._take, revision)

    async def _take(self, raw):
        self.give(raw)

    async def send(self, raw):
        await super().send(raw)
        if self.sent[-1].name not in self.answers:
            await self.transport.receive(raw)

    def of(self, name):
        """Messages with this name that the driver sent."""
        return [message for message in self.sent if message.name == name]


def silent(message):
    """Responder that never responds."""


def select(exchange, dev_num, features):
    ask(
        exchange,
        "SET_DRIVER_FEATURES",
        dev_num,
        block_index=0,
        features=[features >> 32 * k & 0xFFFF_FFFF for k in range(2)],
    )


def negotiate(exchange, dev_num=0, features=0):
    """Bring a device from reset to FEATURES_OK."""
    for status in (0, 1, 3):
        ask(exchange, "SET_DEVICE_STATUS", dev_num, status=status)
    select(exchange, dev_num, features | Feature.VERSION_1.mask)
    assert ask(exchange, "SET_DEVICE_STATUS", dev_num, status=0xB).status == 0xB


def set_queue(exchange, dev_num=0, *, index=0, flags=ENABLE, size=RING_SIZE, reserved=0, **ring):
    """Send SET_VQUEUE and check its response, which is always the same."""
    fields = {**RING, **ring, "flags": flags, "size": size, "reserved": reserved}
    answer = ask(exchange, "SET_VQUEUE", dev_num, index=index, **fields)
    assert answer.msg_size == 8


def get_queue(exchange, dev_num=0, index=0):
    """Send GET_VQUEUE and return maximum, size, flags and the three addresses."""
    answer = ask(exchange, "GET_VQUEUE", dev_num, index=index)
    assert answer.index == index
    addresses = (answer.desc_addr, answer.driver_addr, answer.device_addr)
    return answer.max_size, answer.cur_size, answer.flags, *addresses


def start(exchange, dev_num=0, features=0):
    """Bring a device from reset to DRIVER_OK, with queue 0 set up."""
    negotiate(exchange, dev_num, features)
    set_queue(exchange, dev_num)
    assert ask(exchange, "SET_DEVICE_STATUS", dev_num, status=0xF).status == 0xF


EVERY_REQUEST = {
    "GET_DEVICE_INFO": {},
    "GET_DEVICE_FEATURES": {"block_index": 0, "num_blocks": 2},
    "SET_DRIVER_FEATURES": {"block_index": 0, "features": [0, 1]},
    "GET_CONFIG": {"offset": 0, "length": 4},
    "SET_CONFIG": {"generation": 0, "offset": 8, "data": b"A\0\0\0"},
    "GET_DEVICE_STATUS": {},
    "SET_DEVICE_STATUS": {"status": 1},
    "GET_VQUEUE": {"index": 0},
    "SET_VQUEUE": {"index": 0, "flags": ENABLE, "size": RING_SIZE, **RING},
    "RESET_VQUEUE": {"index": 0},
    "GET_SHM": {"shmid": 0},
}
"""The eleven requests to a device, with fields that are valid for a console."""


def every_request(dev_num=0, token=1):
    """Make the messages of :data:`EVERY_REQUEST`."""
    return [
        request(name, dev_num=dev_num, token=token, revision=R1, **fields)
        for name, fields in EVERY_REQUEST.items()
    ]


def device_event(number, state):
    fields = {"device_number": number, "device_bus_state": state}
    return event("BUS_EVENT_DEVICE", revision=R1, **fields)


def config_event(generation, *, device_status=0xF, offset=0, data=b""):
    fields = {"device_status": device_status, "generation": generation, "offset": offset}
    return event("EVENT_CONFIG", revision=R1, length=len(data), data=data, **fields)


class Plain(VirtioDevice):
    """Device with writable configuration space and queues without a function."""

    device_id = 4

    def __init__(self, *, size=60, queues=1, features=0):
        super().__init__(
            config=bytes(range(size)),
            writable=range(size),
            queue_sizes=(16,) * queues,
            features=features,
        )


def info(**change):
    fields = {
        "device_id": 4,
        "vendor_id": 1,
        "device_uuid": bytes(16),
        "num_feature_blocks": 2,
        "config_size": 60,
        "max_virtqueues": 3,
        "admin_vq_start": 0,
        "admin_vq_count": 0,
    }
    return lambda message: message.respond(**(fields | change))


EMPTY = 5
"""Device number that :func:`devices` does not use."""


def devices():
    return {0: EntropyDevice(), 3: ConsoleDevice(), 31: BlockDevice(sectors=8)}


def record_messages(system):
    """Record messages as they enter and leave the bus, with their direction."""
    sent, received = [], []
    system.observe(
        lambda direction, fifo, raw: (
            sent if direction is Direction.TO_DEVICE else received
        ).append((direction, raw))
    )
    system.device_side.observers.append(
        lambda direction, fifo, raw: (
            sent if direction is Direction.TO_DRIVER else received
        ).append((direction, raw))
    )
    return sent, received


class SlowDrain(ConsoleDevice):
    """Device whose last access to memory completes when ``gate`` is set."""

    def __init__(self):
        super().__init__()
        self.offered |= Feature.RING_RESET.mask
        self.gate = asyncio.Event()

    async def drain(self):
        await self.gate.wait()


def console(revision=R1):
    return Exchange({0: ConsoleDevice()}, revision)


def avail(index=0, dev_num=0):
    fields = {"vq_index": index, "next_offset": 0, "next_wrap": 0}
    return event("EVENT_AVAIL", revision=R1, dev_num=dev_num, **fields).wire()
