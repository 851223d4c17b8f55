# SPDX-License-Identifier: BSD-2-Clause
"""Helpers of the tests of the transport: exchanges with it, messages, devices, a driver's bus.

Messages and fields have the names of revision v1, which are aliases in the other revisions.
docs/conformance.md lists the requirement that each test covers, docs/defects.md the defect.
"""

import asyncio
from collections import Counter

from scripted_bus import ScriptedBus

from models.bus import Direction
from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, VirtioDevice
from models.messages import R1, V1, MessageKind, TransportFeature, dialect_of, event, request
from models.transport import Transport
from models.virtio import Feature

STRICT = R1.on_bus(features=TransportFeature.STRICT_CONFIG_GENERATION)
DIALECTS = {"v1": V1, "r1": R1}
PROFILES = {**DIALECTS, "strict": STRICT}
EMPTY = 5
"""Device number that :func:`devices` does not use."""
RING = {"descriptor_addr": 0x1000, "driver_addr": 0x2000, "device_addr": 0x3000}
RING_SIZE = 64
ENABLE = 1
KEEP_ALL = 0x3C
"""SET_VQUEUE flags that keep size and addresses."""
TOKEN = 0x1234

UNSUPPORTED = (
    Feature.RING_PACKED,
    Feature.NOTIFICATION_DATA,
    Feature.NOTIF_CONFIG_DATA,
    Feature.ADMIN_VQ,
    Feature.SUSPEND,
)
"""Features that neither side has, in this list by hand: not read from ``models``."""


def devices():
    return {0: EntropyDevice(), 3: ConsoleDevice(), 31: BlockDevice(sectors=8)}


class Exchange:
    """Transport whose messages to the driver are kept.

    Attributes
    ----------
    transport, devices
        The transport, and its devices by number.
    dialect
        Revision and parameters of the bus.
    sent
        Bytes of each message to the driver.
    reasons
        Text of each dropped message.
    """

    def __init__(self, devices, revision=V1):
        self.sent = []
        self.reasons = []
        self.dialect = dialect_of(revision)
        self.transport = Transport(devices, self._send, self.dialect)
        self.transport.drop_observers.append(lambda reason, text, raw: self.reasons.append(text))
        self.devices = self.transport.devices

    async def _send(self, raw):
        self.sent.append(raw)

    def ask_bytes(self, raw):
        """Handle a message of any bytes and return the messages that it causes."""
        before = len(self.sent)
        asyncio.run(self.transport.receive(raw))
        return [self.dialect.decode(raw) for raw in self.sent[before:]]

    def ask(self, message):
        """Handle a request and return its only response; check header and padding."""
        (answer,) = self.ask_bytes(message.wire())
        assert (answer.role, answer.kind) == (message.role, MessageKind.RESPONSE)
        assert (answer.dev_num, answer.token) == (message.dev_num, message.token)
        check_form(self.sent[-1], self.dialect)
        return answer

    def state(self):
        """State of every device that a message may change."""
        return {
            number: (
                device.status,
                device.selected,
                device.generation,
                device.read_config(0, device.config_size),
                repr(device.queues),
            )
            for number, device in self.devices.items()
        }


def check_form(raw, dialect):
    """Check reserved type bits, msg_size and padding of a message of the transport."""
    message = dialect.decode(raw)
    assert raw[0] == message.layout.type_bits
    assert message.msg_size == message.layout.exact_size(message.fields) <= dialect.max_size
    assert raw == message.encode().ljust(dialect.max_size, b"\0")


def console(revision=R1):
    return Exchange({0: ConsoleDevice()}, revision)


def ask(exchange, name, dev_num=0, token=TOKEN, **fields):
    """Send a request and return its response."""
    return exchange.ask(
        request(name, dev_num=dev_num, token=token, revision=exchange.dialect, **fields)
    )


def dropped(exchange, raw, reason):
    """Check that a message is dropped for ``reason`` alone.

    It causes no response and no event, and changes no device; the next request is answered.
    """
    drops, before = Counter(exchange.transport.drops), exchange.state()
    assert exchange.ask_bytes(raw) == []
    assert exchange.transport.drops - drops == Counter({reason: 1}), exchange.reasons[-1:]
    assert exchange.state() == before
    assert ask(exchange, "BUS_PING", data=0xDEADBEEF).data == 0xDEADBEEF


def write_status(exchange, dev_num, *values):
    """Write each status and return the status of the last response."""
    for value in values:
        answer = ask(exchange, "SET_DEVICE_STATUS", dev_num, status=value)
    return answer.status


def select(exchange, dev_num, features):
    words = [features >> 32 * k & 0xFFFF_FFFF for k in range(2)]
    ask(exchange, "SET_FEATURES", dev_num, index=0, features=words)


def negotiate(exchange, dev_num=0, features=0):
    """Bring a device from reset to FEATURES_OK."""
    write_status(exchange, dev_num, 0, 1, 3)
    select(exchange, dev_num, features | Feature.VERSION_1.mask)
    assert write_status(exchange, dev_num, 0xB) == 0xB


def set_queue(exchange, dev_num=0, *, index=0, flags=ENABLE, size=RING_SIZE, reserved=0, **ring):
    """Send SET_VQUEUE and check its response, which is always the same.

    Revision v1 has no flags: it sets all fields and enables the queue.
    """
    fields = {**RING, **ring, "size": size, "reserved": reserved}
    if exchange.dialect.layout("SET_VQUEUE", "request").has("flags"):
        fields["flags"] = flags
    else:
        assert flags == ENABLE
    assert ask(exchange, "SET_VQUEUE", dev_num, index=index, **fields).msg_size == 8


def get_queue(exchange, dev_num=0, index=0):
    """Send GET_VQUEUE and return maximum, size, enabled and the three addresses.

    Revision v1 has no flags: the device has the third value.
    """
    answer = ask(exchange, "GET_VQUEUE", dev_num, index=index)
    assert answer.index == index
    queue = exchange.devices[dev_num].queue(index)
    enabled = int(queue is not None and queue.enabled)
    if answer.layout.has("flags"):
        assert answer.flags == enabled
    else:
        assert answer.reserved == 0
    addresses = tuple(answer.number(name) for name in RING)
    return answer.number("max_size"), answer.number("size"), enabled, *addresses


def start(exchange, dev_num=0, features=0):
    """Bring a device from reset to DRIVER_OK, with queue 0 set up."""
    negotiate(exchange, dev_num, features)
    set_queue(exchange, dev_num)
    assert write_status(exchange, dev_num, 0xF) == 0xF


EVERY_REQUEST = {
    "DEVICE_INFO": {},
    "GET_FEATURES": {"index": 0, "num": 2},
    "SET_FEATURES": {"index": 0, "features": [0, 1]},
    "GET_CONFIG": {"offset": 0, "size": 4},
    "SET_CONFIG": {"generation": 0, "offset": 8, "data": b"A\0\0\0"},
    "GET_DEVICE_STATUS": {},
    "SET_DEVICE_STATUS": {"status": 1},
    "GET_VQUEUE": {"index": 0},
    "SET_VQUEUE": {"index": 0, "flags": ENABLE, "size": RING_SIZE, **RING},
    "RESET_VQUEUE": {"index": 0},
    "GET_SHM": {"shmid": 0},
}
"""The eleven requests to a device, with fields that are valid for a console."""


def every_request(dev_num=0, token=1, revision=R1):
    """Make the messages of :data:`EVERY_REQUEST` that the revision has."""
    messages = []
    for name, fields in EVERY_REQUEST.items():
        if revision.has(name, MessageKind.REQUEST):
            layout = revision.layout(name, MessageKind.REQUEST)
            known = {field: value for field, value in fields.items() if layout.has(field)}
            messages.append(request(name, dev_num=dev_num, token=token, revision=revision, **known))
    return messages


def avail(index=0, dev_num=0, revision=R1, following=0):
    """Bytes of an EVENT_AVAIL; ``following`` is its last word."""
    fields = {"next_offset": following & 0x7FFF_FFFF, "next_wrap": following >> 31}
    return event("EVENT_AVAIL", revision=revision, dev_num=dev_num, index=index, **fields).wire()


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


def device_event(number, state):
    fields = {"device_number": number, "device_bus_state": state}
    return event("BUS_EVENT_DEVICE", revision=R1, **fields)


def config_event(generation, *, status=0xF, offset=0, data=b""):
    fields = {"status": status, "generation": generation, "offset": offset}
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
