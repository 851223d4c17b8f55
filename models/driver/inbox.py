# SPDX-License-Identifier: BSD-2-Clause
"""Events on their way from the driver's receive pump to whoever waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ..messages import Message
from ..runtime import Runtime

DEPTH = 256
"""Events that wait in an :class:`EventInbox` before the oldest is lost."""


class EventInbox:
    """Events of one device or of all, in order of arrival; each goes to one of those who wait.

    Parameters
    ----------
    runtime
        Events and time.
    depth
        How many wait; after that the oldest is lost.

    Attributes
    ----------
    lost
        Events that were lost.
    """

    def __init__(self, runtime: Runtime, depth: int = DEPTH) -> None:
        self.lost = 0
        self._runtime = runtime
        self._depth = depth
        self._arrived = runtime.event()
        self._messages: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def clear(self) -> None:
        """Drop the events that wait."""
        self._messages.clear()

    def put(self, message: Message) -> None:
        """Add an event."""
        if len(self._messages) == self._depth:
            self._messages.popleft()
            self.lost += 1
        self._messages.append(message)
        self._arrived.set()

    async def get(
        self, name: str | None = None, *, timeout_us: float | None = None, **fields: int
    ) -> Message | None:
        """Take the oldest event called ``name`` with these field values, by alias too; others stay.

        Returns None when none came for ``timeout_us`` microseconds after the last other one.
        """
        while True:
            self._arrived.clear()
            for message in self._messages:
                if _is(message, name, fields):
                    self._messages.remove(message)
                    return message
            if not await self._runtime.wait(self._arrived, timeout_us):
                return None


def _is(message: Message, name: str | None, fields: Mapping[str, int]) -> bool:
    return name in (None, message.name, message.role) and all(
        message.layout.has(field) and message.number(field) == value
        for field, value in fields.items()
    )
