# SPDX-License-Identifier: BSD-2-Clause
"""Guest driver that sends arbitrary bytes: messages that abort the C implementation, FIFOs."""

import contextlib
from collections import Counter

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice
from models.driver import Driver
from models.drivers import EntropyDriver
from models.messages import MessageKind, decode, request
from models.runtime import sleep
from models.spsc import SpscQueue
from models.system import ModelSystem
from models.virtio import DeviceId, Feature

ENTROPY, CONSOLE, BLOCK = 0, 3, 31
EMPTY = 5
"""Device number without a device."""
EMPTY_SLOT_REQUESTS = {
    "DEVICE_INFO": "0002 0500 0100 0800",
    "GET_FEATURES": "0003 0500 0100 1000 00000000 02000000",
    "SET_FEATURES": "0004 0500 0100 1400 00000000 01000000 00000000",
    "GET_CONFIG": "0005 0500 0100 1000 00000000 04000000",
    "SET_CONFIG": "0006 0500 0100 1800 00000000 00000000 04000000 41000000",
    "GET_DEVICE_STATUS": "0007 0500 0100 0800",
    "SET_DEVICE_STATUS": "0008 0500 0100 0c00 01000000",
    "GET_VQUEUE": "0009 0500 0100 0c00 00000000",
    "SET_VQUEUE": "000a 0500 0100 3000 00000000 00000000 40000000 00000000"
    "0010000000000000 0020000000000000 0030000000000000",
    "RESET_VQUEUE": "000b 0500 0100 0c00 00000000",
    "EVENT_AVAIL": "0041 0500 0000 1000 00000000 00000000",
}
"""Bytes of every message to a device, addressed to :data:`EMPTY`."""
NULL_DEVICE = (
    "GET_FEATURES",
    "GET_DEVICE_STATUS",
    "GET_CONFIG",
    "SET_CONFIG",
    "GET_VQUEUE",
    "SET_VQUEUE",
    "RESET_VQUEUE",
    "EVENT_AVAIL",
)
"""Messages that dereference a null pointer in the C implementation."""
GUEST_ABORTS = {
    "D-01, num 280": (
        "0202 0000 0700 0c00 0000 1801",
        "0302 0000 0700 1200 0000 2000 0000 09000080",
    ),
    "D-07, response bit": ("0107 0000 0100 0c00 00000000", None),
    "D-08, num 9": ("0003 0000 0100 1000 00000000 09000000", None),
    **{f"D-09, {name}": (EMPTY_SLOT_REQUESTS[name], None) for name in NULL_DEVICE},
    "D-11, status 0x100": ("0008 0000 0100 0c00 00010000", "0108 0000 0100 0c00 0f000000"),
    "D-13, index 1023": ("0009 0000 0100 0c00 ff030000", "0109 0000 0100 3000 ff030000"),
    "D-14, index 1024": ("000b 0000 0100 0c00 00040000", "010b 0000 0100 0800"),
    "D-15, index 0x10000": ("0041 0000 0000 1000 00000100 00000000", None),
}
"""Messages that abort the C implementation, each with its response or None.

The responses are for :func:`some_devices`, with device 0 running."""
AREAS = {"descriptor_addr": 0x10_0000, "driver_addr": 0x10_1000, "device_addr": 0x10_2000}


def slot(text):
    """64-byte slot from hex text, followed by stale bytes of an earlier message."""
    return bytes.fromhex(text).ljust(64, b"\xee")


def padded(text):
    """64-byte slot from hex text, padded with zeros as the endpoint writes it."""
    return bytes.fromhex(text).ljust(64, b"\0")


class Guest:
    """Driver of FIFO 0 that sends and receives single messages.

    Attributes
    ----------
    system
        Endpoint, transports and devices.
    transport
        Transport of FIFO 0.
    """

    def __init__(self, system):
        self.system = system
        self.transport = system.device_side.transports[0]
        self._bus = system.buses[0]
        self._pings = 0

    @property
    def interrupts(self):
        return self.system.host.interrupts[0]

    async def send(self, raw):
        """Send a message, given as hex text or bytes."""
        await self._bus.send(slot(raw) if isinstance(raw, str) else raw)

    async def receive(self):
        """Receive the next slot from the device."""
        return await self._bus.recv()

    async def exchange(self, *raw):
        """Send messages, then a ping, and return the slots received before its response.

        The ping is the valid request after the invalid ones. Also check that each slot raises
        exactly one interrupt.
        """
        interrupts, self._pings = self.interrupts, self._pings + 1
        for one in raw:
            await self.send(one)
        ping = request("BUS_PING", token=0xFFFF, data=self._pings)
        await self.send(ping.wire())
        pong = ping.respond(data=self._pings).wire().ljust(64, b"\0")
        slots = []
        while (got := await self.receive()) != pong:
            slots.append(got)
        interrupts += len(slots) + 1
        while self.interrupts < interrupts:
            # A slot can be visible before its interrupt.
            await sleep(self.system.runtime, 1.0)
        assert self.interrupts == interrupts
        return slots

    async def ask(self, raw):
        """Send a request and return its only response, checking echoed header and padding."""
        asked = slot(raw) if isinstance(raw, str) else raw
        (got,) = await self.exchange(asked)
        answer = decode(got)
        assert answer.kind is MessageKind.RESPONSE
        assert (got[0] & 3, *got[1:6]) == (asked[0] & 2 | 1, *asked[1:6])
        assert got[answer.msg_size :] == bytes(64 - answer.msg_size)
        return answer

    async def request(self, name, dev_num=0, **fields):
        """Send a valid request and return its response."""
        return await self.ask(request(name, dev_num=dev_num, token=0x1234, **fields).wire())

    async def dropped(self, raw, reason):
        """Check that a message is dropped for ``reason``, without response, event or interrupt."""
        before = Counter(self.transport.drops)
        assert await self.exchange(raw) == []
        assert self.transport.drops - before == Counter({reason: 1})

    async def status(self, dev_num, *values):
        """Write each status and return the status in the last response."""
        for value in values:
            answer = await self.request("SET_DEVICE_STATUS", dev_num, status=value)
        return answer.status

    async def bring_up(self, dev_num=ENTROPY, *, features=(0, 3), size=64, areas=AREAS):
        """Bring a device from reset to DRIVER_OK, with queue 0 set up."""
        assert await self.status(dev_num, 0, 1, 3) == 3
        await self.request("SET_FEATURES", dev_num, index=0, features=list(features))
        assert await self.status(dev_num, 0xB) == 0xB
        await self.request("SET_VQUEUE", dev_num, index=0, size=size, **areas)
        assert await self.status(dev_num, 0xF) == 0xF

    async def check_works(self):
        """Check that a valid driver finds every device, brings it up and reads entropy."""
        before = Counter(self.transport.drops)
        for number in self.transport.devices:
            assert await self.status(number, 0) == 0
        memory = self.system.host.memory
        async with Driver(self._bus, self.system.runtime) as driver:
            driver.rings = self.system.drivers[0].rings
            assert await driver.discover() == list(self.transport.devices)
            for number, device in self.transport.devices.items():
                if device.device_id == DeviceId.ENTROPY:
                    path = await EntropyDriver.probe(driver, number, memory)
                    assert len(await path.read(100)) == 100
                    path.stop()
                else:
                    await driver.probe(number)
                assert device.running
            assert not driver.unclaimed
        assert self.transport.drops == before


def some_devices():
    """Three devices, with gaps between their numbers."""
    return {
        ENTROPY: EntropyDevice(features=Feature.RING_RESET.mask),
        CONSOLE: ConsoleDevice(),
        BLOCK: BlockDevice(sectors=8),
    }


@contextlib.asynccontextmanager
async def open_guest(*devices_by_fifo):
    """Guest of the given devices, or of some; at the end, check that a valid driver works."""
    async with ModelSystem(devices_by_fifo or [some_devices()]) as system:
        system.drivers[0].stop()
        guest = Guest(system)
        yield guest
        await guest.check_works()


def queues_of(system, fifo=0):
    """Driver sides of the two queues of FIFO ``fifo``, over the RAM of the endpoint."""
    layout, ram = system.endpoint.layout, system.endpoint.ram
    return (
        SpscQueue(ram, layout.driver_queue_base(fifo), whole_slots=True),
        SpscQueue(ram, layout.device_queue_base(fifo)),
    )
