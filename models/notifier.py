# SPDX-License-Identifier: BSD-2-Clause
"""Used-buffer notifications on their way to the driver, at most one waiting for each queue.

One EVENT_USED makes a driver look at all that is in the used ring, so a second one that would wait
behind it says nothing new. A queue whose notification waits goes on working meanwhile, and what
waits is bounded by the number of queues.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .runtime import Runtime, Task


class UsedNotifier:
    """Sends EVENT_USED for the queues of one FIFO's devices.

    Parameters
    ----------
    notify
        Sends one, with device number and queue; waits while there is no room for it.
    runtime
        Tasks and events.

    Attributes
    ----------
    coalesced
        Notifications that an earlier one stands for.
    """

    def __init__(self, notify: Callable[[int, int], Awaitable[None]], runtime: Runtime) -> None:
        self.coalesced = 0
        self._notify = notify
        self._runtime = runtime
        self._due = runtime.event()
        # Ordered as they came.
        self._waiting: dict[tuple[int, int], None] = {}

    def used(self, dev_num: int, queue: int) -> None:
        """There are used buffers in queue ``queue`` of device ``dev_num``."""
        if (dev_num, queue) in self._waiting:
            self.coalesced += 1
            return
        self._waiting[dev_num, queue] = None
        self._due.set()

    def start(self) -> Task:
        """Start sending."""
        return self._runtime.spawn(self._run())

    def forget(self, dev_num: int, queue: int | None = None) -> None:
        """Drop what waits for a queue of device ``dev_num``, or for all of them: it was reset."""
        for key in [key for key in self._waiting if key[0] == dev_num and queue in (None, key[1])]:
            del self._waiting[key]

    def clear(self) -> None:
        """Forget what waits: the driver it was for is gone."""
        self._waiting.clear()

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            while self._waiting:
                # Out of the waiting before it is sent: buffers that are used from here on may be
                # too late for the driver's look at the ring.
                dev_num, queue = next(iter(self._waiting))
                del self._waiting[dev_num, queue]
                await self._notify(dev_num, queue)
