# SPDX-License-Identifier: BSD-2-Clause
"""Host side: stores, requests and settings, sent without waiting and reported to the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cocotb

from models.config_space import (
    BUS_MASTER_ENABLE,
    COMMAND,
    MEMORY_SPACE_ENABLE,
    MSIX_ENABLE,
    MSIX_FUNCTION_MASK,
)

from ..host.requester import TlpTimeout, split
from ..queue_bench import QueueBench
from ..tlp import CplStatus, Tlp
from ..tlp.packets import config_write, enabled_bytes, memory_read, memory_write
from .oracle import EventKind, Oracle

TAGS = 32
"""Tags of the host."""
RESERVED_TAGS = 2
"""Tags reserved for :class:`~testbench.hostile.quiesce.Quiescer`: its reads do not wait."""

Check = Callable[[list[Tlp]], str | None]
"""Checks the completions of a request; returns a description of the error."""


@dataclass
class HostSettings:
    """Settings of the function as sent by the host.

    Parameters
    ----------
    memory_space, bus_master
        Memory Space Enable and Bus Master Enable.
    msix_enabled, function_masked
        MSI-X Enable and Function Mask.
    masked
        Mask bit of each vector.
    """

    memory_space: bool = True
    bus_master: bool = True
    msix_enabled: bool = True
    function_masked: bool = False
    masked: list[bool] = field(default_factory=list)

    @property
    def vectors_allowed(self) -> list[bool]:
        """Whether each vector may send."""
        enabled = self.msix_enabled and not self.function_masked and self.bus_master
        return [enabled and not masked for masked in self.masked]


class HostileHost:
    """The host side of a bench.

    Parameters
    ----------
    bench
        The bench.
    oracle
        Receives all stores, doorbells and completed requests.
    failures
        List to append failures to.

    Attributes
    ----------
    settings
        Settings as sent by the host.
    unsupported
        Number of unsupported requests sent since ``rst``.
    index_words
        BAR offsets of all index words, which are not RAM.
    """

    def __init__(self, bench: QueueBench, oracle: Oracle, failures: list[str]) -> None:
        self._bench = bench
        self._host = bench.host
        self._shell = bench.shell
        self._oracle = oracle
        self._failures = failures
        self._is_core = bench.parameters.top == "core"
        self._num_fifos = bench.parameters.num_fifos
        self._resets = 0
        self.settings = HostSettings(masked=[False] * self._num_fifos)
        self.unsupported = 0
        self.index_words = frozenset(
            base + offset
            for fifo in range(self._num_fifos)
            for base in (bench.driver(fifo, 0), bench.device(fifo, 0))
            for offset in (bench.queue.head_offset, bench.queue.tail_offset)
        )

    def abandon(self) -> None:
        """Ignore the completions of all outstanding requests: ``rst`` will be asserted."""
        self._resets += 1

    async def enable(self) -> None:
        """Enable the function after a reset, and write its MSI-X table."""
        await self._host.restore()
        self.settings = HostSettings(masked=[False] * self._num_fifos)
        self._oracle.unblock_vectors()

    def store_nowait(self, bar: int, offset: int, data: bytes) -> None:
        """Send a store of any size and alignment."""
        address = self._host.bars[bar] + offset
        for start, size in split(address, len(data), self._host.max_payload_size):
            part, data = data[:size], data[size:]
            write = memory_write(start, part, requester_id=self._host.requester_id)
            self.write_nowait(bar, write)

    def ring_nowait(self, fifo: int) -> None:
        """Ring the doorbell of ``fifo``."""
        self.store_nowait(self._shell.register_bar, self._shell.notify(fifo), b"\1\0\0\0")

    def write_nowait(self, bar: int, tlp: Tlp, *, supported: bool = True) -> None:
        """Send a memory write; poisoned, malformed and unsupported ones must have no effect."""
        self._host.send_nowait(tlp, bar=bar)
        if not self._passes_first_beat(tlp):
            return
        if not supported or not self.settings.memory_space:
            self.unsupported += 1
            return
        if tlp.ep:
            return
        enables = enabled_bytes(tlp)[: len(tlp.payload)]
        offset = tlp.address - int(self._host.bars[bar])
        data = tlp.payload[: len(enables)]
        if bar == self._shell.fifo_bar:
            self._oracle.store(offset, data, enables)
        elif bar == self._shell.register_bar:
            written = [at for at, enabled in enumerate(enables, offset) if enabled]
            self._oracle.ring(
                fifo
                for fifo in range(self._num_fifos)
                if any(0 <= at - self._shell.notify(fifo) < 4 for at in written)
            )
        else:
            self._store_masks(offset, data, enables)

    def _passes_first_beat(self, tlp: Tlp) -> bool:
        """Whether a TLP is not discarded as malformed on its first beat."""
        dwords = len(tlp.payload) // 4
        lanes = self._bench.parameters.data_width // 32
        return self._is_core or dwords == tlp.length or min(dwords, tlp.length) > lanes

    def _store_masks(self, offset: int, data: bytes, enables: Sequence[bool]) -> None:
        for vector in range(self._num_fifos):
            position = self._shell.msix_control(vector) - offset
            if 0 <= position < len(data) and enables[position]:
                self.settings.masked[vector] = bool(data[position] & 1)
                self._oracle.unblock_vectors()

    async def request_nowait(
        self, tlp: Tlp, check: Check, *, bar: int = 0, flushes: bool = True
    ) -> bool:
        """Send a non-posted request; pass its completions to ``check``.

        Parameters
        ----------
        tlp
            The request.
        check
            Checks the completions.
        bar
            The matching BAR.
        flushes
            Whether its completion implies that every earlier store has taken effect.

        Returns
        -------
        bool
            Whether it was sent: a tag was free.
        """
        if not self._has_free_tag:
            return False
        number = self._oracle.request()
        requester_id = self._host.requester_id
        pending = await self._host.requester.open(tlp.replace(requester_id=requester_id))
        self._host.send_nowait(pending.request, bar=bar)

        async def complete(resets: int) -> None:
            try:
                completions = await pending.answers()
            except TlpTimeout as error:
                if resets == self._resets:
                    self._failures.append(str(error))
                return
            if resets != self._resets:
                return
            if flushes:
                now = self._bench.time_ns
                self._oracle.record(now, EventKind.DOORBELL, lambda: self._oracle.confirm(number))
            problem = check(completions)
            if problem is not None:
                self._failures.append(f"{pending.request}: {problem}")

        cocotb.start_soon(complete(self._resets))
        return True

    @property
    def _has_free_tag(self) -> bool:
        return bool(self._host.requester.outstanding < TAGS - RESERVED_TAGS)

    async def refused_request_nowait(self, tlp: Tlp, *, bar: int = 0) -> bool:
        """Send a request that must be completed with Unsupported Request.

        Returns
        -------
        bool
            Whether it was sent: a tag was free.
        """

        def check(completions: list[Tlp]) -> str | None:
            refused = (
                len(completions) == 1
                and completions[0].status == CplStatus.UR
                and not completions[0].payload
            )
            return None if refused else f"completed with {completions}, must be UR"

        sent = await self.request_nowait(tlp, check, bar=bar)
        self.unsupported += sent
        return sent

    async def read_nowait(self, bar: int, offset: int, size: int) -> bool:
        """Send a read of 1 to 4,096 bytes within 4 KiB; compare the data with the RAM shadow.

        Returns
        -------
        bool
            Whether it was sent: a tag was free.
        """
        tlp = memory_read(self._host.bars[bar] + offset, size)
        if not self.settings.memory_space:
            return await self.refused_request_nowait(tlp, bar=bar)
        ram = self._oracle.ram
        read = ram.open_read(offset, size) if bar == self._shell.fifo_bar else None

        def check(completions: list[Tlp]) -> str | None:
            if read is not None:
                ram.close_read(read)
            if any(completion.status != CplStatus.SC for completion in completions):
                return f"completed with {completions}, must be SC"
            data = b"".join(completion.payload for completion in completions)
            if len(data) != 4 * tlp.length:
                return f"completed with {len(data)} bytes, must be {4 * tlp.length}"
            if read is None:
                return None
            first = offset & 3
            return self._compare(read, offset, data[first : first + size])

        sent = await self.request_nowait(tlp, check, bar=bar)
        if not sent and read is not None:
            ram.close_read(read)
        return sent

    def _compare(self, read: dict[int, set[bytes]], offset: int, data: bytes) -> str | None:
        """Compare the data of a read with the possible values of its words."""
        size = self._oracle.ram.word_bytes
        for index, values in read.items():
            base = index * size
            compared = [
                at
                for at in range(max(base, offset), min(base + size, offset + len(data)))
                if at & ~3 not in self.index_words and not self._engine_writes(at)
            ]
            found = bytes(data[at - offset] for at in compared)
            if not any(found == bytes(value[at - base] for at in compared) for value in values):
                expected = " or ".join(value.hex() for value in values)
                return f"FIFO BAR+{base:#x} reads {found.hex()}, must be in {expected}"
        return None

    def _engine_writes(self, offset: int) -> bool:
        """Whether the push engine may write there, which makes the result of a read unknown."""
        layout, queue = self._bench.layout, self._bench.queue
        within = offset % layout.fifo_stride - layout.device_queue
        return queue.slots_offset <= within < queue.size

    async def configure(
        self,
        *,
        memory_space: bool | None = None,
        bus_master: bool | None = None,
        msix: bool | None = None,
        function_mask: bool | None = None,
    ) -> bool:
        """Change settings in configuration space or on the hard block's pins.

        Returns
        -------
        bool
            Whether the change was made: it needs a free tag, and a function behind a hard block has
            no Memory Space Enable of its own.
        """
        if self._is_core and memory_space is not None:
            return False
        if not self._is_core and not self._has_free_tag:
            return False
        settings = self.settings
        if memory_space is not None:
            settings.memory_space = memory_space
        if bus_master is not None:
            settings.bus_master = bus_master
        if msix is not None:
            settings.msix_enabled = msix
        if function_mask is not None:
            settings.function_masked = function_mask
        self._oracle.unblock_vectors()
        if self._is_core:
            self._host.set_pins(
                bus_master_enable=int(settings.bus_master),
                msix_enable=int(settings.msix_enabled),
                msix_mask=int(settings.function_masked),
            )
            return True
        if memory_space is not None or bus_master is not None:
            command = (
                settings.memory_space * MEMORY_SPACE_ENABLE.mask
                | settings.bus_master * BUS_MASTER_ENABLE.mask
            )
            tlp = config_write(self._host.device_id, COMMAND, command, 0x3)
        else:
            control = (
                settings.msix_enabled * MSIX_ENABLE.mask
                | settings.function_masked * MSIX_FUNCTION_MASK.mask
            )
            tlp = config_write(self._host.device_id, MSIX_ENABLE.offset, control, 0xC)

        def check(completions: list[Tlp]) -> str | None:
            if completions[0].status == CplStatus.SC:
                return None
            return f"completed with {completions}, must be SC"

        return await self.request_nowait(tlp, check, flushes=False)
