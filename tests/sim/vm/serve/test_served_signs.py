# SPDX-License-Identifier: BSD-2-Clause
"""The server's events about drivers of another dialect, unmapped memory and disconnects."""

import pytest
from by_hand import FIFO_BAR, QUEUE
from served_events import serving
from vfio_host import MEMORY_BASE, with_host

from models.drivers import EntropyDriver
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from models.virtqueue import Buffer
from sim.vm.serve.service import MOST_REFUSALS
from sim.vm.vfio_user import wire
from sim.vm.vfio_user.client import Client

PAGE = 0x1000
DRIVER_QUEUE = SPSC_PAGES.driver_queue_base(0)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(["rng", "1:rng"], tmp_path_factory.mktemp("serve")) as served:
        yield served


@pytest.fixture
def client(served):
    served.discard_events()
    with Client(served.path) as client:
        client.write(wire.CONFIG_REGION, 4, b"\6\0")
        yield client


def send(client, raw, slot):
    """Write bytes to a slot and ring the doorbell, as drivers of any dialect do."""
    client.write(FIFO_BAR, DRIVER_QUEUE + QUEUE.slot_offset(slot), raw.ljust(64, b"\0"))
    client.write32(FIFO_BAR, DRIVER_QUEUE + QUEUE.head_offset, slot + 1)
    client.write32(AMP_PCI.register_bar, AMP_PCI.notify(0), 1)


def test_self_describing_layout_is_reported_once(served, client):
    for _ in range(3):
        client.read(FIFO_BAR, DRIVER_QUEUE, 2)
    client.close()
    assert "self-describing area" in served.next("note")["text"]
    served.next("client")
    assert not [event for event in served.drain() if event["kind"] == "note"]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("00 02 0000 0600", "header of 6 bytes"),
        ("00 0a 0000 0100 2c00", "44 bytes"),
        ("00 0c 0000 0100 0c00 0000 0000", "GET_SHM of 12 bytes is a message of "),
    ],
)
def test_other_dialect_is_reported_once(served, client, raw, text):
    for slot in range(3):
        send(client, bytes.fromhex(raw), slot)
    assert text in served.next("note")["text"]
    client.close()
    while served.next("client")["state"] != "disconnected":
        pass
    assert not [event for event in served.drain() if event["kind"] == "note"]


def test_requests_to_unmapped_memory_are_reported_and_counted(served):
    served.discard_events()
    size = 4 * PAGE

    async def program(host, driver):
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        nowhere = Buffer(MEMORY_BASE - size, size)
        assert await entropy.transfer(0, [], [nowhere]) == size

    with_host(served, program)
    while served.next("client")["state"] != "connected":
        pass
    errors = [served.next("error")["text"] for _ in range(MOST_REFUSALS + 1)]
    assert all(text.startswith("unmapped memory: MW") for text in errors[:-1])
    assert errors[-1].endswith("more requests to unmapped memory are refused")
    served.next("client")


def test_request_after_disconnect_is_reported(served):
    served.discard_events()
    size = 1 << 17

    async def program(host, driver):
        entropy = await EntropyDriver.probe(driver, 0, host.memory)
        address = host.memory.allocate(size)
        await entropy.submit(0, [], [Buffer(address, size)])
        start = address - MEMORY_BASE
        while not any(host.memory.bytes[start : start + 64]):
            host.client.read(FIFO_BAR, DRIVER_QUEUE, 4)
        host.client.socket.close()

    with_host(served, program)
    while served.next("client")["state"] != "connected":
        pass
    assert served.next("error")["text"].startswith("the client is disconnected: M")
    while served.next("client")["state"] != "disconnected":
        pass
