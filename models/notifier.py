# SPDX-License-Identifier: BSD-2-Clause
"""Coalescing sender of used-buffer notifications.

An EVENT_USED makes the driver read the whole used ring, so at most one notification per queue is
pending: a second one would be redundant. A queue continues to work while its notification is
pending. The number of queues bounds the number of pending notifications.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .runtime import Runtime, Task


class UsedNotifier:
    """Sends EVENT_USED for the queues of one FIFO's devices.

    Parameters
    ----------
    notify
        Sends one EVENT_USED for a device number and a queue. It waits while the bus is full.
    runtime
        Tasks and events.

    Attributes
    ----------
    coalesced
        Number of notifications merged into one that was already pending.
    """

    def __init__(self, notify: Callable[[int, int], Awaitable[None]], runtime: Runtime) -> None:
        self.coalesced = 0
        self._notify = notify
        self._runtime = runtime
        self._requested = runtime.event()
        # A dict keeps the order of arrival.
        self._pending: dict[tuple[int, int], None] = {}

    def request(self, dev_num: int, queue: int) -> None:
        """Request a notification for queue ``queue`` of device ``dev_num``."""
        if (dev_num, queue) in self._pending:
            self.coalesced += 1
            return
        self._pending[dev_num, queue] = None
        self._requested.set()

    def start(self) -> Task:
        """Start the task that sends notifications."""
        return self._runtime.spawn(self._run())

    def cancel(self, dev_num: int, queue: int | None = None) -> None:
        """Drop the pending notification of one queue of device ``dev_num``, or of all its queues.

        For a queue or a device that was reset.
        """
        for key in [key for key in self._pending if key[0] == dev_num and queue in (None, key[1])]:
            del self._pending[key]

    def clear(self) -> None:
        """Drop all pending notifications: their driver is gone."""
        self._pending.clear()

    async def _run(self) -> None:
        while True:
            await self._requested.wait()
            self._requested.clear()
            while self._pending:
                # Dequeue before sending: buffers used after this point need another notification.
                dev_num, queue = next(iter(self._pending))
                del self._pending[dev_num, queue]
                await self._notify(dev_num, queue)
