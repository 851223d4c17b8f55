# SPDX-License-Identifier: BSD-2-Clause
"""Driver bus whose device side is scripted by a test."""

import asyncio

from models.driver import Driver
from models.messages import decode
from models.runtime import AsyncioRuntime


class ScriptedBus:
    """Keeps sent messages; ``answers`` maps the name of a request to a response function."""

    def __init__(self, revision="v1", **answers):
        self.revision = revision
        self.sent = []
        self.answers = answers
        self._inbox = asyncio.Queue()

    async def open(self):
        pass

    async def send(self, raw):
        message = decode(raw, self.revision)
        self.sent.append(message)
        if message.name in self.answers and message.kind == "request":
            answer = self.answers[message.name](message)
            if answer is not None:
                self.give(answer)

    async def recv(self):
        return await self._inbox.get()

    def give(self, message):
        self._inbox.put_nowait(message if isinstance(message, bytes) else message.wire())


def driver_of(bus, **parameters):
    return Driver(bus, AsyncioRuntime(), revision=bus.revision, **parameters)


def status(value):
    return lambda message: message.respond(status=value)


class StatusRegister:
    """Device status of a device that accepts only the bits of ``mask``."""

    def __init__(self, mask):
        self.value = 0
        self._mask = mask

    def write(self, message):
        self.value = message.status & self._mask
        return message.respond(status=self.value)

    def read(self, message):
        return message.respond(status=self.value)
