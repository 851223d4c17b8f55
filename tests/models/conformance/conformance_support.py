# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of transport revision 1 share: a bus straight into a transport, and a hostile end.

docs/conformance.md says which requirement each test shows.
"""

from model_support import RING, ask
from scripted_bus import ScriptedBus

from models.messages import R1, TransportFeature, request
from models.transport import Transport
from models.virtio import Feature

STRICT = R1.on_bus(features=TransportFeature.STRICT_CONFIG_GENERATION)
RING_SIZE = 64
ENABLE = 1
KEEP_ALL = 0x3C
"""SET_VQUEUE flags that leave size and addresses as they are."""


class DeviceBus(ScriptedBus):
    """A bus of nothing but a transport; ``answers`` of the test come before the device's."""

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
        """What the driver sent of this name."""
        return [message for message in self.sent if message.name == name]


def silent(message):
    """An answer that never comes."""


def select(exchange, dev_num, features):
    ask(
        exchange,
        "SET_DRIVER_FEATURES",
        dev_num,
        block_index=0,
        features=[features >> 32 * k & 0xFFFF_FFFF for k in range(2)],
    )


def negotiate(exchange, dev_num=0, features=0):
    """From reset to FEATURES_OK."""
    for status in (0, 1, 3):
        ask(exchange, "SET_DEVICE_STATUS", dev_num, status=status)
    select(exchange, dev_num, features | Feature.VERSION_1.mask)
    assert ask(exchange, "SET_DEVICE_STATUS", dev_num, status=0xB).status == 0xB


def set_queue(exchange, dev_num=0, *, index=0, flags=ENABLE, size=RING_SIZE, reserved=0, **ring):
    """SET_VQUEUE, whose answer is always the same."""
    fields = {**RING, **ring, "flags": flags, "size": size, "reserved": reserved}
    answer = ask(exchange, "SET_VQUEUE", dev_num, index=index, **fields)
    assert answer.msg_size == 8


def get_queue(exchange, dev_num=0, index=0):
    """GET_VQUEUE: maximum, size, flags and the three addresses."""
    answer = ask(exchange, "GET_VQUEUE", dev_num, index=index)
    assert answer.index == index
    addresses = (answer.desc_addr, answer.driver_addr, answer.device_addr)
    return answer.max_size, answer.cur_size, answer.flags, *addresses


def start(exchange, dev_num=0, features=0):
    """From reset to DRIVER_OK, with queue 0 set up."""
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
"""The eleven requests for a device, with fields that a console takes."""


def every_request(dev_num=0, token=1):
    """Messages of :data:`EVERY_REQUEST`."""
    return [
        request(name, dev_num=dev_num, token=token, revision=R1, **fields)
        for name, fields in EVERY_REQUEST.items()
    ]
