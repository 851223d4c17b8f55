# SPDX-License-Identifier: BSD-2-Clause
"""The device side of the compiled endpoint: its message streams and its DMA window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from models.bus import Direction
from models.dma import DmaError
from models.runtime import Lock
from testbench.axi.accesses import DmaStatistics, check_access

from .endpoint import Kind, NativeEndpoint
from .runtime import Event, NativeRuntime

RESPONSES = ("OKAY", "EXOKAY", "SLVERR", "DECERR")
"""Names of AXI responses (AMBA AXI4 section A3.4.4)."""


class NativePort:
    """Implements :class:`models.bus.DevicePort`.

    Parameters
    ----------
    endpoint
        The endpoint.
    runtime
        Tasks and events.

    Attributes
    ----------
    received
        Messages that the endpoint has sent.
    on_message
        Called with direction, FIFO and bytes of each message that the endpoint has accepted or
        sent.
    """

    def __init__(self, endpoint: NativeEndpoint, runtime: NativeRuntime) -> None:
        self.received = 0
        self.on_message: Callable[[Direction, int, bytes], object] = lambda *message: None
        self._endpoint = endpoint
        self._runtime = runtime
        self._messages: deque[tuple[int, bytes]] = deque()
        self._arrived = runtime.event()
        self._waiting: deque[tuple[int, bytes, Event]] = deque()
        self._queue_ready = 0
        self._queue_ready_changed = runtime.event()
        self._locks: dict[int, Lock] = {}
        self._resets = 0
        endpoint.listeners[Kind.MESSAGE_SENT] = self._take
        endpoint.listeners[Kind.MESSAGE_ACCEPTED] = self._accepted
        endpoint.listeners[Kind.QUEUE_READY] = self._set_queue_ready

    @property
    def pending(self) -> int:
        """Messages that the endpoint has not accepted yet."""
        return len(self._waiting)

    async def receive(self) -> tuple[int, bytes]:
        """As :meth:`models.bus.DevicePort.receive`."""
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        return self._messages.popleft()

    async def send(self, fifo: int, message: bytes) -> None:
        """As :meth:`models.bus.DevicePort.send`."""
        resets = self._resets
        async with self._locks.setdefault(fifo, Lock(self._runtime)):
            while not self._queue_ready >> fifo & 1:
                self._queue_ready_changed.clear()
                await self._queue_ready_changed.wait()
            if resets != self._resets:
                return
            accepted = self._runtime.event()
            self._endpoint.send_message(fifo, message)
            self._waiting.append((fifo, message, accepted))
            await accepted.wait()

    def host_reset(self) -> None:
        """Discard the messages that wait for a queue: the host has reset the function."""
        self._resets += 1

    def reset(self) -> None:
        """Drop the messages that are under way: the design is reset. Their senders return."""
        self._resets += 1
        while self._waiting:
            self._waiting.popleft()[-1].set()

    def _take(self, fifo: int, data: bytes) -> None:
        self.received += 1
        self.on_message(Direction.TO_DEVICE, fifo, data)
        self._messages.append((fifo, data))
        self._arrived.set()

    def _accepted(self, detail: int, data: bytes) -> None:
        fifo, message, accepted = self._waiting.popleft()
        self.on_message(Direction.TO_DRIVER, fifo, message)
        accepted.set()

    def _set_queue_ready(self, ready: int, data: bytes) -> None:
        self._queue_ready = ready
        self._queue_ready_changed.set()


class _Access:
    """An access under way."""

    __slots__ = ("data", "done", "response")

    def __init__(self, done: Event) -> None:
        self.done = done
        self.response: str | None = None
        self.data = b""


class NativeDma:
    """Implements :class:`models.dma.Dma` over the DMA window.

    Parameters
    ----------
    endpoint
        The endpoint. It answers accesses of each direction in order.
    runtime
        Events and time.

    Attributes
    ----------
    statistics
        Statistics of all accesses so far; bursts are not counted.
    """

    def __init__(self, endpoint: NativeEndpoint, runtime: NativeRuntime) -> None:
        self.statistics = DmaStatistics()
        self._endpoint = endpoint
        self._runtime = runtime
        self._reads: deque[_Access] = deque()
        self._writes: deque[_Access] = deque()
        endpoint.listeners[Kind.READ_DONE] = self._read_done
        endpoint.listeners[Kind.WRITE_DONE] = self._write_done

    @property
    def under_way(self) -> int:
        """Number of accesses in flight."""
        return len(self._reads) + len(self._writes)

    async def read(self, address: int, size: int) -> bytes:
        """As :meth:`models.dma.Dma.read`."""
        check_access("read", address, size)
        began = self._runtime.now_ns
        self._endpoint.read(address, size)
        access = await self._wait(self._reads)
        _require_okay(access, "read", address, size)
        self.statistics.reads += 1
        self.statistics.bytes_read += size
        self.statistics.read_ns += self._runtime.now_ns - began
        return access.data

    async def write(self, address: int, data: bytes) -> None:
        """As :meth:`models.dma.Dma.write`."""
        check_access("write", address, len(data))
        began = self._runtime.now_ns
        self._endpoint.write(address, bytes(data))
        access = await self._wait(self._writes)
        _require_okay(access, "write", address, len(data))
        self.statistics.writes += 1
        self.statistics.bytes_written += len(data)
        self.statistics.write_ns += self._runtime.now_ns - began

    def reset(self) -> None:
        """Fail the accesses in flight: the design is reset."""
        for queue in (self._reads, self._writes):
            while queue:
                queue.popleft().done.set()

    async def _wait(self, queue: deque[_Access]) -> _Access:
        access = _Access(self._runtime.event())
        queue.append(access)
        await access.done.wait()
        return access

    def _read_done(self, response: int, data: bytes) -> None:
        access = self._reads.popleft()
        access.data = data
        access.response = RESPONSES[response]
        access.done.set()

    def _write_done(self, response: int, data: bytes) -> None:
        access = self._writes.popleft()
        access.response = RESPONSES[response]
        access.done.set()


def _require_okay(access: _Access, verb: str, address: int, size: int) -> None:
    if access.response == "OKAY":
        return
    reason = "aborted by reset" if access.response is None else f"response is {access.response}"
    raise DmaError(f"{verb} of {size} bytes at {address:#x}: {reason}")
