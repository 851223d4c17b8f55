# SPDX-License-Identifier: BSD-2-Clause
"""Drivers and device side that the systems share."""

import pytest
from model_support import settle

from models.bus import Direction, MaximumSizeError
from models.devices import EntropyDevice
from models.endpoint import Endpoint
from models.layout import SMALL_PAGES
from models.messages import R1, decode, request
from models.runtime import AsyncioRuntime
from models.shell import AMP_PCI_9038
from models.stack import BusStack
from models.system import EndpointDma, EndpointHost, EndpointPort


def build(num_fifos=2, *, shell=AMP_PCI_9038, layout=SMALL_PAGES, **options):
    runtime, endpoint = AsyncioRuntime(), Endpoint(num_fifos, shell, layout)
    host = EndpointHost(endpoint, runtime)
    host.enable()
    stack = BusStack(
        host,
        EndpointPort(endpoint, runtime),
        [{0: EntropyDevice()} for _ in range(num_fifos)],
        runtime,
        dma=EndpointDma(endpoint, host.memory, runtime),
        shell=shell,
        layout=layout,
        **options,
    )
    return stack, host


async def test_every_fifo_has_a_driver_with_rings_in_host_memory():
    stack, host = build(revision="r1")
    seen = []
    stack.observe(lambda direction, fifo, raw: seen.append((direction, fifo)))
    await stack.start()
    for driver in stack.drivers:
        device = await driver.probe(0)
        assert host.memory.load(device.rings[0].descriptor_addr, 16) == bytes(16)
    stack.stop()
    assert set(seen) == {(direction, fifo) for direction in Direction for fifo in (0, 1)}


async def test_device_side_without_drivers():
    stack, _ = build(drivers=False)
    assert stack.buses == stack.drivers == []
    sent = []
    stack.device_side.observers.append(lambda direction, fifo, raw: sent.append(decode(raw).name))
    await stack.start()
    await stack.device_side.transports[1].receive(request("BUS_PING", data=1).wire())
    await settle()
    stack.stop()
    assert sent == ["BUS_PING"]


def test_messages_larger_than_a_slot_are_refused():
    with pytest.raises(MaximumSizeError, match="max_size is 65: must be at most 64"):
        build(revision=R1.on_bus(max_size=65))
