# SPDX-License-Identifier: BSD-2-Clause
"""A thin host on TLPs: BAR accesses, raw packets and MSI-X, without a model of the fabric.

It is 20 to 30 times as fast as a root complex model. :class:`testbench.host.bfm.EndpointBfm` and
:class:`testbench.host.bfm.CoreBfm` connect it to ports in cocotb,
:class:`sim.native.host.NativeHost` to the gateware as compiled code. For an independent
implementation use :mod:`testbench.host.root_complex`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from models import runtime as contract
from models.bus import InterruptLog
from models.shell import MSIX_ENTRY_SIZE

from ..runtime import CocotbRuntime, TimedRuntime
from ..stream.tlp import TlpPacket
from ..tlp import MEMORY_READS, MEMORY_WRITES, Tlp
from ..tlp.packets import memory_read, memory_write
from .memory_completer import MemoryCompleter
from .requester import HostError, Requester, UnexpectedTlp, read_data, split


class TlpHost(ABC):
    """Base of the functional models of both tops; implements the ``HostFunction`` contract.

    Parameters
    ----------
    num_fifos
        Number of FIFOs of the design.
    requester_id
        The host's own id, 16 bits.
    max_payload_size, max_read_request_size
        Longest write and read request of the host in bytes.
    tags, timeout_us
        As :class:`~testbench.host.requester.Requester`.
    msi_address
        MSI-X address of vector 0; vector n has ``msi_address + 16 * n``. Addresses from 4 GiB up
        require 4-dword headers.
    extended_tags
        Whether the design may use 8-bit tags for its reads rather than 5-bit tags.
    memory_options
        Arguments of :class:`~testbench.host.memory_completer.MemoryCompleter`.
    runtime
        Tasks, events and time; those of cocotb by default.

    Attributes
    ----------
    bars
        Base address of each BAR.
    interrupts
        Number of MSI-X writes received for each vector.
    memory
        Completes the design's memory reads and writes; host software accesses it directly.
    on_interrupt
        Functions to call with the vector of each MSI-X write.
    on_request
        Function to call with each request of the design except MSI-X writes, in place of
        ``memory``; ``None`` for ``memory``.
    on_error
        Function to call with each error that a packet from the design causes; ``None`` to raise it,
        which ends the test.
    requester
        Tags and outstanding requests of the host.
    runtime
        Tasks, events and time.
    """

    def __init__(
        self,
        *,
        num_fifos: int = 1,
        requester_id: int = 0x0019,
        max_payload_size: int = 256,
        max_read_request_size: int = 512,
        tags: int = 32,
        timeout_us: float = 100.0,
        msi_address: int = 0xFEE0_0000,
        extended_tags: bool = False,
        memory_options: Mapping[str, Any] | None = None,
        runtime: TimedRuntime | None = None,
    ) -> None:
        self.runtime = runtime = CocotbRuntime() if runtime is None else runtime
        self.num_fifos = num_fifos
        self.requester_id = requester_id
        self.max_payload_size = max_payload_size
        self.max_read_request_size = max_read_request_size
        self.requester = Requester(tags=tags, timeout_us=timeout_us, runtime=runtime)
        self.msi_address = msi_address
        self.extended_tags = extended_tags
        self.memory = MemoryCompleter(
            self.complete_nowait, **{"completer_id": requester_id, **(memory_options or {})}
        )
        self._serving = False
        self._rescheduled = runtime.event()
        self.bars: dict[int, int] = {}
        self._interrupts = InterruptLog(runtime.event)
        self.interrupts = self._interrupts.counts
        self.on_interrupt: list[Callable[[int], None]] = []
        self.on_request: Callable[[Tlp], None] | None = None
        self.on_error: Callable[[HostError], None] | None = None
        self._vectors: dict[int, tuple[int, int]] = {}

    @abstractmethod
    def send_nowait(self, tlp: Tlp, *, bar: int = 0) -> None:
        """Queue a packet unchanged.

        Parameters
        ----------
        tlp
            Any packet, legal or not.
        bar
            The matching BAR, for ports that carry it.
        """

    @abstractmethod
    async def send(self, tlp: Tlp, *, bar: int = 0) -> None:
        """As :meth:`send_nowait`; return when the design has accepted the packet."""

    @abstractmethod
    def complete_nowait(self, tlp: Tlp) -> None:
        """Queue a completion of one of the design's requests, unchanged."""

    async def request(self, tlp: Tlp, *, bar: int = 0) -> list[Tlp]:
        """Send a non-posted request with a free tag; return its completions of any status.

        Raises
        ------
        TlpTimeout
            The request timed out.
        """
        pending = await self.requester.open(tlp.replace(requester_id=self.requester_id))
        self.send_nowait(pending.request, bar=bar)
        return await pending.answers()

    async def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset`` of BAR ``bar``; size 0 is a zero-length read.

        Raises
        ------
        CompletionError
            The completion status is not successful.
        TlpTimeout
            The read timed out.
        """
        requests = []
        for address, count in split(self.bars[bar] + offset, size, self.max_read_request_size):
            request = memory_read(address, count, requester_id=self.requester_id)
            pending = await self.requester.open(request)
            self.send_nowait(pending.request, bar=bar)
            requests.append((pending, count))
        data = b""
        for pending, count in requests:
            data += read_data(pending.request, count, await pending.answers())
        return data

    async def bar_write(self, bar: int, offset: int, data: bytes) -> None:
        """Write ``data`` at byte ``offset`` of BAR ``bar``; return when the design accepted it."""
        *packets, last = self._writes(bar, offset, data)
        for packet in packets:
            self.send_nowait(packet, bar=bar)
        await self.send(last, bar=bar)

    def bar_write_nowait(self, bar: int, offset: int, data: bytes) -> None:
        """As :meth:`bar_write`, but return at once."""
        for packet in self._writes(bar, offset, data):
            self.send_nowait(packet, bar=bar)

    def _writes(self, bar: int, offset: int, data: bytes) -> Iterator[Tlp]:
        start = 0
        for address, count in split(self.bars[bar] + offset, len(data), self.max_payload_size):
            yield memory_write(address, data[start : start + count], requester_id=self.requester_id)
            start += count

    async def bar_read32(self, bar: int, offset: int) -> int:
        """Read the little-endian dword at byte ``offset`` of BAR ``bar``."""
        return int.from_bytes(await self.bar_read(bar, offset, 4), "little")

    async def bar_write32(self, bar: int, offset: int, value: int) -> None:
        """Write the little-endian dword at byte ``offset`` of BAR ``bar``."""
        await self.bar_write(bar, offset, value.to_bytes(4, "little"))

    def interrupt(self, vector: int) -> contract.Event:
        """Create an event that every MSI-X write of ``vector`` sets from now on.

        Each call returns a separate event; its waiter clears it.
        """
        return self._interrupts.event(vector)

    def msix_entry(self, vector: int, *, masked: bool = False) -> bytes:
        """The 16-byte table entry of ``vector``; register its address and data."""
        address, data = self.msi_address + 16 * vector, 0x4D00 + vector
        self._vectors[address] = (vector, data)
        self.interrupts.setdefault(vector, 0)
        return address.to_bytes(8, "little") + data.to_bytes(4, "little") + bytes([masked, 0, 0, 0])

    def msix_table(self, vectors: int) -> bytes:
        """The unmasked table of ``vectors`` entries; register their addresses and data."""
        return b"".join(self.msix_entry(vector) for vector in range(vectors))

    async def write_msix_table(self, bar: int, offset: int, vectors: int) -> None:
        """Write and unmask ``vectors`` entries of the table at byte ``offset`` of BAR ``bar``."""
        for vector in range(vectors):
            entry_offset = offset + MSIX_ENTRY_SIZE * vector
            entry = self.msix_entry(vector)
            # One dword at a time with the mask last, as drivers do.
            for lane in range(0, MSIX_ENTRY_SIZE, 4):
                await self.bar_write(bar, entry_offset + lane, entry[lane : lane + 4])

    def receive_packet(self, packet: TlpPacket) -> None:
        """As :meth:`receive`; pass errors to ``on_error`` if it is set."""
        try:
            self.receive(packet.tlp)
        except HostError as error:
            if self.on_error is None:
                raise
            self.on_error(error)

    def receive(self, tlp: Tlp) -> None:
        """Accept a packet from the design.

        Raises
        ------
        UnexpectedTlp
            It is a completion without a request, or not a memory request.
        HostError
            An MSI-X write has other data than its table entry.
        """
        if tlp.is_completion:
            self.requester.receive(tlp)
        elif tlp.kind in MEMORY_WRITES and tlp.address in self._vectors:
            self._interrupted(tlp)
        elif self.on_request is not None:
            self.on_request(tlp)
        elif tlp.kind in MEMORY_READS | MEMORY_WRITES:
            self._serve(tlp)
        else:
            raise UnexpectedTlp(f"not a memory request: {tlp}")

    def _serve(self, tlp: Tlp) -> None:
        now = self.runtime.now_ns
        self.memory.take(tlp, now, self.max_payload_size)
        if self.memory.run(now) is None:
            return
        self._rescheduled.set()
        if not self._serving:
            self._serving = True
            self.runtime.spawn(self._serve_later())

    async def _serve_later(self) -> None:
        # One task serves all reads; it ends when none is in flight.
        while (due := self.memory.run(self.runtime.now_ns)) is not None:
            self._rescheduled.clear()
            wait_ns = max(due - self.runtime.now_ns, 0.001)
            await self.runtime.wait(self._rescheduled, wait_ns / 1000)
        self._serving = False

    def _interrupted(self, tlp: Tlp) -> None:
        vector, data = self._vectors[tlp.address]
        if tlp.payload != data.to_bytes(4, "little") or tlp.first_be != 0xF:
            raise HostError(
                f"MSI-X write of vector {vector} has data {tlp.payload.hex()} and byte enables "
                f"{tlp.first_be:#x}, must be {data:#010x} in memory order: {tlp}"
            )
        self._interrupts.record(vector)
        for listener in self.on_interrupt:
            listener(vector)
