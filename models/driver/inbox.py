# SPDX-License-Identifier: BSD-2-Clause
"""Queue of events between the driver's receive task and the tasks that wait for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from ..messages import Message
from ..runtime import Runtime

DEPTH = 256
"""Default number of events that an :class:`EventInbox` holds before it drops the oldest."""


class EventInbox:
    """Events of one device or of all, in order of arrival. Each event is delivered once.

    Parameters
    ----------
    runtime
        Events and time.
    depth
        Number of events held. When the inbox is full, the oldest is dropped.

    Attributes
    ----------
    lost
        Number of events dropped.
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
        """Drop all pending events."""
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
        """Remove and return the oldest event with this name or alias and these field values.

        Other events stay. The result is None if no event arrives for ``timeout_us`` microseconds;
        each event that does not match restarts the timeout.
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
