# SPDX-License-Identifier: BSD-2-Clause
"""Device side over a scripted port."""

import asyncio

from model_support import settle

from models.bus import Direction
from models.device_bus import DeviceBus
from models.devices import EntropyDevice
from models.messages import decode, request
from models.runtime import AsyncioRuntime


class ScriptedPort:
    """Port that receives from ``inbox``; sending to a FIFO in ``blocked`` never completes."""

    def __init__(self, blocked=()):
        self.inbox = asyncio.Queue()
        self.sent = []
        self.blocked = set(blocked)

    async def receive(self):
        return await self.inbox.get()

    async def send(self, fifo, message):
        if fifo in self.blocked:
            await asyncio.Event().wait()
        self.sent.append((fifo, decode(message)))

    def give(self, fifo, token):
        raw = request("GET_DEVICE_STATUS", token=token).wire()
        self.inbox.put_nowait((fifo, raw.ljust(64, b"\0")))


def build(port, num_fifos=2):
    return DeviceBus(port, [{0: EntropyDevice()} for _ in range(num_fifos)], AsyncioRuntime())


async def test_blocked_fifo_does_not_block_others():
    port = ScriptedPort(blocked={0})
    side = build(port)
    side.start()
    for token in range(4):
        port.give(0, token)
        port.give(1, token)
    await settle()
    assert [(fifo, message.token) for fifo, message in port.sent] == [(1, n) for n in range(4)]
    side.stop()


async def test_reset_drops_pending_messages():
    port = ScriptedPort(blocked={0})
    side = build(port)
    side.start()
    for token in range(4):
        port.give(0, token)
    await settle()
    assert side.transports[0].received == 1
    side.transports[0].devices[0].write_status(3)
    side.reset()
    port.give(1, 9)
    await settle()
    assert side.transports[0].devices[0].status == 0
    assert [message.token for _, message in port.sent] == [9]
    side.stop()


async def test_stop_and_start():
    port = ScriptedPort()
    side = build(port)
    seen = []
    side.observers.append(lambda direction, fifo, raw: seen.append((direction, fifo, len(raw))))
    side.start()
    side.start()
    port.give(1, 1)
    await settle()
    side.stop()
    await settle()
    port.give(1, 2)
    await settle()
    assert len(port.sent) == 1
    assert seen == [(Direction.TO_DEVICE, 1, 64), (Direction.TO_DRIVER, 1, 48)]
    side.start()
    await settle()
    assert [message.token for _, message in port.sent] == [1, 2]
    side.stop()
