# SPDX-License-Identifier: BSD-2-Clause
"""Driver checks of device responses: an invalid one raises a DriverError and sets FAILED."""

import pytest
from scripted_bus import driver_of
from transport_support import DeviceBus, Plain, info

from models.devices import ConsoleDevice, EntropyDevice, NetworkDevice
from models.driver import DriverError, ProtocolError, QueueError
from models.drivers import ConsoleDriver, NetworkDriver
from models.host_memory import MemoryModel
from models.messages import R1, V1_1
from models.system import ModelSystem
from models.virtio import DeviceStatus
from models.virtqueue.layout import MAX_QUEUE_SIZE


def change_response(bus, name, **change):
    """Make ``bus`` answer ``name`` as its device does, with some fields changed."""
    requests, device = bus.transport._device_handlers, bus.transport.devices[0]

    def answer(message):
        fields = dict(requests.handle(message, device).fields)
        for field, value in change.items():
            local = message.respond(**fields).layout.local_name(field)
            fields[local] = value(message) if callable(value) else value
        return message.respond(**fields)

    layout = bus.transport._dialect.layout(name, "request")
    bus.answers[layout.name] = answer
    return bus


@pytest.mark.parametrize("size", [3, 100, 65535, MAX_QUEUE_SIZE + 1, 1 << 16, 0xFFFF_FFFF])
async def test_invalid_maximum_queue_size_is_refused(dialect, size):
    bus = change_response(DeviceBus({0: Plain()}, dialect), "GET_VQUEUE", max_size=size)
    async with driver_of(bus) as driver:
        with pytest.raises(QueueError, match=f"queue 0: max_size is {size}: must be a power of"):
            await driver.probe(0)
    assert bus.transport.devices[0].status & DeviceStatus.FAILED


@pytest.mark.parametrize("existing", [(0,), (1,), (0, 3), (1, 2), ()])
async def test_missing_queues_are_skipped(dialect, existing):
    device = Plain(queues=4)
    for index, queue in enumerate(device.queues):
        queue.max_size = 16 if index in existing else 0
    bus = DeviceBus({0: device}, dialect)
    async with driver_of(bus) as driver:
        dev = await driver.probe(0)
        assert tuple(sorted(dev.rings)) == existing
    assert device.running
    assert [queue.enabled for queue in device.queues] == [n in existing for n in range(4)]


@pytest.mark.parametrize(
    ("kind", "driver"), [(ConsoleDevice, ConsoleDriver), (NetworkDevice, NetworkDriver)]
)
async def test_missing_queue_of_a_device_type_is_refused(kind, driver):
    device = kind()
    device.queues[1].max_size = 0
    async with ModelSystem([{0: device}]) as system:
        with pytest.raises(QueueError, match="there is no queue 1"):
            await driver.probe(system.drivers[0], 0, system.host.memory)
        assert device.status & DeviceStatus.FAILED


async def test_too_many_queues_are_refused():
    bus = DeviceBus({0: Plain()}, GET_DEVICE_INFO=info(max_virtqueues=0xFFFF_FFFF))
    async with driver_of(bus) as driver:
        with pytest.raises(QueueError, match="max_vqs is 4294967295: must be 65536 at most"):
            await driver.probe(0)
    assert bus.transport.devices[0].status & DeviceStatus.FAILED
    assert not bus.of("GET_VQUEUE")


@pytest.mark.parametrize("revision", [V1_1, R1], ids=lambda dialect: dialect.revision)
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("GET_VQUEUE", "index"),
        ("GET_FEATURES", "index"),
        ("GET_CONFIG", "offset"),
        ("SET_CONFIG", "offset"),
        ("GET_SHM", "shmid"),
    ],
)
async def test_response_with_a_wrong_echo_is_refused(revision, name, field):
    bus = DeviceBus({0: Plain()}, revision)
    change_response(bus, name, **{field: lambda message: message.number(field) + 1})
    async with driver_of(bus) as driver:
        device = await driver.device(0)
        calls = {
            "GET_VQUEUE": lambda: device.queue(0),
            "GET_FEATURES": device.offered_features,
            "GET_CONFIG": lambda: device.read_config(4, 4),
            "SET_CONFIG": lambda: device.write_config(4, b"\1\2\3\4"),
            "GET_SHM": lambda: device.shared_memory(2),
        }
        with pytest.raises(ProtocolError, match=r"is \d+: must be \d+, as in the request"):
            await calls[name]()


@pytest.mark.parametrize("name", ["GET_VQUEUE", "GET_FEATURES"])
async def test_bring_up_fails_at_a_wrong_echo(dialect, name):
    bus = DeviceBus({0: Plain()}, dialect)
    change_response(bus, name, index=lambda message: message.number("index") ^ 1)
    async with driver_of(bus) as driver:
        with pytest.raises(DriverError):
            await driver.probe(0)
    assert bus.transport.devices[0].status & DeviceStatus.FAILED


async def test_failed_bring_up_leaks_nothing():
    device = EntropyDevice()
    async with ModelSystem([{0: device}]) as system:
        driver, memory = system.drivers[0], system.host.memory
        assert isinstance(memory, MemoryModel)
        for _ in range(20):
            device.queues[0].max_size = 100
            with pytest.raises(QueueError):
                await driver.probe(0)
        assert not driver._subscribers
