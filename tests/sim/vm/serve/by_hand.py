# SPDX-License-Identifier: BSD-2-Clause
"""Messages through a client without a driver: single accesses, as a driver makes them."""

import contextlib
import os
import time

from models.layout import SPSC_PAGES
from models.messages import decode, request
from models.shell import AMP_PCI

FIFO_BAR = AMP_PCI.fifo_bar
QUEUE = SPSC_PAGES.queue


def get_devices(token):
    """A slot with a BUS_GET_DEVICES request."""
    return request("BUS_GET_DEVICES", token=token, offset=0, num=32).wire()


def ask(client, token, fifo=0):
    """Write a request to a driver queue, one quadword at a time, and ring the doorbell."""
    base = SPSC_PAGES.driver_queue_base(fifo)
    head = client.read32(FIFO_BAR, base + QUEUE.head_offset)
    slot = base + QUEUE.slot_offset(head)
    message = get_devices(token)
    for at in range(0, QUEUE.slot_size, 8):
        client.write(FIFO_BAR, slot + at, message[at : at + 8], posted=True)
    after = QUEUE.next(head).to_bytes(4, "little")
    client.write(FIFO_BAR, base + QUEUE.head_offset, after, posted=True)
    client.write(AMP_PCI.register_bar, AMP_PCI.notify(fifo), b"\1\0\0\0", posted=True)


def answer(client, fifo=0):
    """The latest message in a device queue that has not wrapped, and the number of messages."""
    base = SPSC_PAGES.device_queue_base(fifo)
    head = client.read32(FIFO_BAR, base + QUEUE.head_offset)
    if not head:
        return None, 0
    slot = client.read(FIFO_BAR, base + QUEUE.slot_offset(head - 1), QUEUE.slot_size)
    return decode(slot), head


def wait_until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "time limit exceeded"
        time.sleep(0.005)


def pending(signal):
    with contextlib.suppress(BlockingIOError):
        return os.eventfd_read(signal)
    return 0
