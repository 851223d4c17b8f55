# SPDX-License-Identifier: BSD-2-Clause
"""Devices whose own code raises, and a check of what must still work.

Each fault is an entry point of a device: the method, and the request or the event that reaches it.
:func:`check` runs one on a system with drivers and a device side: the pure model, or the gateware.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from models.devices import ConsoleDevice, EntropyDevice
from models.drivers import ConsoleDriver, EntropyDriver
from models.virtio import DeviceStatus, Feature

FAULTY, SOUND = 0, 1
RING = {"descriptor_addr": 0x1000, "driver_addr": 0x2000, "device_addr": 0x3000}


class BrokenCodeError(Exception):
    """Raised by the device's own code."""


class FaultyDevice(ConsoleDevice):
    """A console device, one method of which raises while ``armed``."""

    def __init__(self, method):
        super().__init__()
        self.offered |= Feature.RING_RESET.mask
        self.armed = False
        self._method = method
        self.output_observers.append(lambda data: self._called("output_observers"))

    def _called(self, method):
        if self.armed and method == self._method:
            raise BrokenCodeError(method)


def _raising(method):
    def call(self, *args, **kwargs):
        self._called(method)
        return getattr(super(FaultyDevice, self), method)(*args, **kwargs)

    return call


for _method in (
    "attach",
    "configure_queue",
    "features_acceptable",
    "handle",
    "offered_word",
    "queue",
    "queue_notify",
    "read_config",
    "reset",
    "reset_queue",
    "select_word",
    "write_config",
    "write_status",
):
    setattr(FaultyDevice, _method, _raising(_method))


@dataclass(frozen=True)
class Fault:
    """One entry point of a device.

    ``method`` raises. ``provoke`` takes driver and system, reaches the method, and checks the
    answer. ``running``: the driver must bring up the device first.
    """

    method: str
    provoke: Callable[[Any, Any], Awaitable[None]]
    running: bool = False


def request(name, expected, **fields):
    """Return a ``provoke`` that sends a request and expects these fields in the answer."""

    async def provoke(driver, system):
        answer = await driver.request(name, dev_num=FAULTY, **fields)
        answered = {field: getattr(answer, field) for field in expected}
        assert answered == expected, answer

    return provoke


async def select_features(driver, system):
    device = await driver.device(FAULTY)
    await device.write_status(DeviceStatus.ACKNOWLEDGE)
    await device.write_status(DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER)
    await device.select_features(Feature.VERSION_1.mask)
    status = await device.write_status(0xB)
    assert status & DeviceStatus.NEEDS_RESET and not status & DeviceStatus.FEATURES_OK


async def kick(driver, system):
    await driver.notify("EVENT_AVAIL", dev_num=FAULTY, index=1, next_offset=0, next_wrap=0)


async def transmit(driver, system):
    ring = system.consoles[0].device.rings[1]
    memory = system.host.memory
    await memory.write(ring.descriptor_addr, memory.allocate(8).to_bytes(8, "little") + b"\4")
    await memory.write(ring.driver_addr + 2, b"\1\0\0\0")
    await kick(driver, system)


async def notify_used(driver, system):
    system.device_side.notifiers[0].request(FAULTY, 1)


FAULTS = {
    "configuration read": Fault(
        "read_config", request("GET_CONFIG", {"size": 0, "offset": 4}, offset=4, size=4)
    ),
    "configuration write": Fault(
        "write_config",
        request("SET_CONFIG", {"size": 0, "offset": 8}, generation=0, offset=8, data=b"A\0\0\0"),
    ),
    "observer of the output": Fault(
        "output_observers",
        request("SET_CONFIG", {"size": 0, "offset": 8}, generation=0, offset=8, data=b"A\0\0\0"),
    ),
    "status": Fault("write_status", request("SET_DEVICE_STATUS", {"status": 0x40}, status=1)),
    "reset": Fault("reset", request("SET_DEVICE_STATUS", {"status": 0x40}, status=0)),
    "reset while running": Fault(
        "reset", request("SET_DEVICE_STATUS", {"status": 0x40}, status=0), running=True
    ),
    "features read": Fault(
        "offered_word", request("GET_FEATURES", {"index": 1, "features": (0, 0)}, index=1, num=2)
    ),
    "features write": Fault(
        "select_word", request("SET_FEATURES", {}, index=0, num=1, features=[1])
    ),
    "features accepted": Fault("features_acceptable", select_features),
    "queue read": Fault("queue", request("GET_VQUEUE", {"index": 1, "max_size": 0}, index=1)),
    "queue set-up": Fault("configure_queue", request("SET_VQUEUE", {}, index=0, size=8, **RING)),
    "queue reset": Fault("reset_queue", request("RESET_VQUEUE", {}, index=0)),
    "kick": Fault("queue_notify", kick, running=True),
    "driver request": Fault("handle", transmit, running=True),
    "notification": Fault("queue", notify_used, running=True),
}


def devices(name):
    """A device with the fault ``name``, and a sound one."""
    return {FAULTY: FaultyDevice(FAULTS[name].method), SOUND: EntropyDevice(source=bytes)}


async def check(system, name, settle):
    """Provoke a fault: the device reports NEEDS_RESET, still answers, and a reset restores it.

    ``system`` has :func:`devices` behind its first FIFO; ``settle`` waits until the system is idle.
    """
    fault, driver = FAULTS[name], system.drivers[0]
    device = system.device_side.transports[0].devices[FAULTY]
    memory = system.host.memory
    sound = await EntropyDriver.probe(driver, SOUND, memory)
    system.consoles = []
    if fault.running:
        system.consoles.append(await ConsoleDriver.probe(driver, FAULTY, memory, ring_features=0))
    if driver.dialect.layout("SET_VQUEUE", "request").has("flags") and name == "queue set-up":
        fault = Fault(fault.method, request("SET_VQUEUE", {}, index=0, size=8, flags=1, **RING))
    events = driver.subscribe(FAULTY)
    device.armed = True
    await fault.provoke(driver, system)
    await settle()
    assert isinstance(device.failure, BrokenCodeError), device.failure

    # The status has NEEDS_RESET for every driver; a driver that set DRIVER_OK also gets an event.
    assert (
        await driver.request("GET_DEVICE_STATUS", dev_num=FAULTY)
    ).status & DeviceStatus.NEEDS_RESET
    event = await events.get("EVENT_CONFIG", timeout_us=1)
    assert (event is not None) == (fault.running and name != "reset while running")
    assert event is None or event.number("status") & DeviceStatus.NEEDS_RESET

    # The bus and the other device still work, and a reset restores the faulty device.
    await driver.ping(7)
    assert await sound.read(16) == bytes(16)
    device.armed = False
    console = await ConsoleDriver.probe(driver, FAULTY, memory)
    await console.write(b"mended")
    assert device.output.endswith(b"mended") and device.failure is None
    driver.unsubscribe(events)
