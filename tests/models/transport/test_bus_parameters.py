# SPDX-License-Identifier: BSD-2-Clause
"""Parameters of a bus: revision, maximum message size, transport features."""

import random
import struct

import pytest
from scenarios import pure_traces
from transport_support import STRICT, Exchange, ask, devices, record_messages, start

from models.bus import Direction, MaximumSizeError
from models.devices import BlockDevice, ConsoleDevice, VirtioDevice
from models.layout import LAYOUTS, SPSC_PAGES, QueueLayout, SharedLayout
from models.messages import R1, MessageKind, TransportFeature
from models.shell import AMP_PCI
from models.system import ModelSystem
from sim.lab.amaranth_system import AmaranthSystem


async def test_parameters_are_known_before_the_first_message():
    """Both sides have the same limits and features of the bus before the first message."""
    dialect = STRICT.on_bus(max_size=52)
    async with ModelSystem([{31: BlockDevice(sectors=8)}], revision=dialect) as system:
        sent, _ = record_messages(system)
        driver = system.drivers[0]
        assert sent == []
        assert (driver.dialect.revision, driver.dialect.max_size) == ("r1", 52)
        assert driver.dialect.features is TransportFeature.STRICT_CONFIG_GENERATION
        # The device side has the same parameters, in force from the first message.
        capacity = driver.dialect.capacity("GET_CONFIG", MessageKind.RESPONSE, "data")
        assert capacity == 32
        for length, answered in ((capacity, capacity), (capacity + 1, 0)):
            answer = await driver.request("GET_CONFIG", dev_num=31, offset=0, length=length)
            assert answer.length == answered
        answer = await driver.request(
            "SET_CONFIG", dev_num=31, generation=77, offset=0, data=bytes(4)
        )
        assert answer.length == 0


def test_bus_parameters_are_read_only():
    for name, value in (("max_size", 52), ("features", TransportFeature(1))):
        with pytest.raises(AttributeError):
            setattr(R1, name, value)
    assert (R1.max_size, R1.features) == (64, TransportFeature.NONE)
    other = R1.on_bus(max_size=52, features=TransportFeature.STRICT_CONFIG_GENERATION)
    assert (R1.max_size, R1.features) == (64, TransportFeature.NONE)
    assert (other.max_size, other.features) == (52, TransportFeature.STRICT_CONFIG_GENERATION)


@pytest.mark.parametrize("features", [2, 3, 1 << 31])
def test_unknown_transport_features_are_refused(features):
    with pytest.raises(ValueError, match="there is no feature"):
        R1.on_bus(features=TransportFeature(features))


def test_transport_features_are_separate_from_device_features():
    """Feature bit 0 of a device and transport feature bit 0 of the bus are independent."""
    offers = []
    for dialect in (R1, STRICT):
        exchange = Exchange({0: VirtioDevice(features=1), 1: VirtioDevice()}, dialect)
        for number in (0, 1):
            fields = {"index": 0, "num": 2}
            offers.append(ask(exchange, "GET_FEATURES", number, **fields).features)
    assert offers == [(1, 0x13), (0, 0x13)] * 2
    # Bit 0 of the device does not make the bus strict either.
    exchange = Exchange({0: ConsoleDevice()}, R1)
    assert exchange.transport.devices[0].offered & 1
    start(exchange, features=1)
    assert ask(exchange, "SET_CONFIG", generation=9, offset=8, data=b"A\0\0\0").length == 4


def test_maximum_size_of_the_endpoint():
    assert 52 <= R1.max_size <= 264
    for layout in LAYOUTS.values():
        assert R1.max_size <= layout.queue.slot_size


WIDE_SLOTS = SharedLayout(name="wide", queue=QueueLayout(slot_size=128, capacity=30))


def test_maximum_size_must_fit_the_slots(monkeypatch):
    """Every system refuses a maximum size above the slot size with the same error."""
    large = R1.on_bus(max_size=65)
    text = "revision r1: max_size is 65: must be at most 64, a slot of spsc-pages"
    for system in (ModelSystem, AmaranthSystem):
        with pytest.raises(MaximumSizeError, match=text):
            system([devices()], revision=large)
    environment = {
        "TOP": "core",
        "NUM_FIFOS": "1",
        "DATA_WIDTH": "64",
        "COMPLETION_TIMEOUT": "8192",
        "PCI_SHELL": AMP_PCI.name,
        "SHARED_LAYOUT": SPSC_PAGES.name,
        "DMA_WINDOW": "1",
        "BLOCK_OPTIONS": "",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from testbench.system import GatewareSystem

    with pytest.raises(MaximumSizeError, match=text):
        GatewareSystem(None, [devices()], revision=large)


@pytest.mark.parametrize("max_size", [65, 100, 128])
async def test_larger_slots_allow_larger_messages(max_size):
    dialect = R1.on_bus(max_size=max_size)
    async with ModelSystem([devices()], revision=dialect, layout=WIDE_SLOTS) as system:
        sent, _ = record_messages(system)
        disk = await system.drivers[0].probe(31)
        assert len(await disk.read_config(0, 60)) == 60
        assert max(len(raw) for _, raw in sent) == max_size
    with pytest.raises(MaximumSizeError, match="at most 128, a slot of wide"):
        ModelSystem([devices()], revision=R1.on_bus(max_size=129), layout=WIDE_SLOTS)


@pytest.mark.parametrize("max_size", [52, 53, 63, 64])
async def test_smaller_maximum_sizes(max_size):
    """Everything works with a smaller limit; long accesses take more messages."""
    dialect = R1.on_bus(max_size=max_size)
    for scenario in ("bring_up", "move_data"):
        await pure_traces(scenario, 1, dialect)
    disk = BlockDevice(sectors=8)
    disk._writable = range(60)
    async with ModelSystem([{0: disk}], revision=dialect) as system:
        sent, _ = record_messages(system)
        handle = await system.drivers[0].device(0)
        data = random.Random(max_size).randbytes(60)
        await handle.write_config(0, data)
        assert await handle.read_config(0, 60) == data
        sizes = {
            direction: max(struct.unpack_from("<H", raw, 6)[0] for w, raw in sent if w is direction)
            for direction in Direction
        }
        assert set(sizes.values()) == {max_size}
        assert all(len(raw) == max_size for _, raw in sent)
