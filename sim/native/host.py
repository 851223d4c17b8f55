# SPDX-License-Identifier: BSD-2-Clause
"""The host side of the compiled endpoint."""

from __future__ import annotations

from collections import deque
from typing import Any

from models.runtime import Event
from testbench.host.endpoint import EndpointHost
from testbench.stream.tlp import TlpPacket
from testbench.tlp import Tlp
from testbench.tlp.monitor import TlpMonitor

from .endpoint import HEADER_BYTES, Kind, NativeEndpoint
from .runtime import NativeRuntime

MOST_WAITING = 16
"""Waiting packets above which a posted write waits."""


class NativeHost(EndpointHost):
    """The thin host on a :class:`~sim.native.endpoint.NativeEndpoint`; feeds the monitor.

    Parameters
    ----------
    endpoint
        The endpoint.
    monitor
        Checks every packet.
    runtime
        Tasks, events and time.
    **options
        As :class:`~testbench.host.endpoint.EndpointHost`.
    """

    def __init__(
        self,
        endpoint: NativeEndpoint,
        monitor: TlpMonitor,
        runtime: NativeRuntime,
        **options: Any,
    ) -> None:
        super().__init__(runtime=runtime, **options)
        self._received = 0
        self._endpoint = endpoint
        self._monitor = monitor
        self._sent: deque[tuple[Tlp, Event | None]] = deque()
        self._drained: list[Event] = []
        endpoint.listeners[Kind.TLP_SENT] = self._take
        endpoint.listeners[Kind.TLP_ACCEPTED] = self._accepted

    @property
    def pending(self) -> int:
        """As :attr:`EndpointHost.pending`."""
        return len(self._sent)

    @property
    def received(self) -> int:
        """As :attr:`EndpointHost.received`."""
        return self._received

    def send_nowait(self, tlp: Tlp, *, bar: int = 0) -> None:
        """Queue a packet unchanged; the raw stream does not carry ``bar``."""
        self._send(tlp, None)

    async def send(self, tlp: Tlp, *, bar: int = 0) -> None:
        """As :meth:`send_nowait`; return when the design has accepted the packet."""
        accepted = self.runtime.event()
        self._send(tlp, accepted)
        await accepted.wait()

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``; posted.

        Returns at once while few packets wait, so that the gateware need not run for each write.
        """
        self.bar_write_nowait(bar, offset, data)
        if len(self._sent) > MOST_WAITING:
            await self.drained()

    async def drained(self) -> None:
        """As :meth:`EndpointHost.drained`."""
        if self._sent:
            event = self.runtime.event()
            self._drained.append(event)
            self._endpoint.wake_when_drained()
            await event.wait()

    def reset(self) -> None:
        """Drop the packets that wait: the design is reset. Their senders return."""
        while self._sent:
            self._retire()

    def _send(self, tlp: Tlp, accepted: Any) -> None:
        self._endpoint.send_tlp(tlp.pack(), tlp.payload, wakes=accepted is not None)
        self._sent.append((tlp, accepted))

    def _accepted(self, detail: int, data: bytes) -> None:
        self._monitor.host_sent(self._retire())

    def _retire(self) -> Tlp:
        tlp, accepted = self._sent.popleft()
        if accepted is not None:
            accepted.set()
        if not self._sent and self._drained:
            drained, self._drained = self._drained, []
            for event in drained:
                event.set()
        return tlp

    def _take(self, detail: int, data: bytes) -> None:
        self._received += 1
        header = int.from_bytes(data[:HEADER_BYTES], "little")
        tlp = Tlp.unpack(header, data[HEADER_BYTES:])
        self._monitor.design_sent(tlp)
        self.receive_packet(TlpPacket(tlp))
