# SPDX-License-Identifier: BSD-2-Clause
"""Stores and requests of a hostile host, sent without waiting and reported to the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cocotb

from models.config_space import (
    BUS_MASTER_ENABLE,
    COMMAND,
    MEMORY_SPACE_ENABLE,
    MSIX_ENABLE,
    MSIX_FUNCTION_MASK,
)
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI

from ..host.requester import TlpTimeout, split
from ..queue_bench import QUEUE
from ..tlp import CplStatus, Tlp
from ..tlp.packets import config_write, enabled_bytes, memory_read, memory_write
from .bench import TAGS, HostileBench
from .oracle import RANG

SPARE_TAGS = 2
"""Tags reserved for :class:`QuiesceBench`, so that its reads do not wait for a tag."""

Check = Callable[[list[Tlp]], str | None]
"""Checks the completions of a request; returns a description of the error."""


class RequestBench(HostileBench):
    """A bench whose host sends memory requests and changes configuration settings."""

    def store_nowait(self, bar: int, offset: int, data: bytes) -> None:
        """Send a store of any size and alignment."""
        for address, count in split(self.host.bars[bar] + offset, len(data), self._max_payload):
            piece, data = data[:count], data[count:]
            self.send_write(bar, memory_write(address, piece, requester_id=self.host.requester_id))

    @property
    def _max_payload(self) -> int:
        return int(self.host.max_payload_size)

    def send_write(self, bar: int, tlp: Tlp, *, supported: bool = True) -> None:
        """Send a memory write; poisoned, malformed and unsupported ones must have no effect."""
        self.host.send_nowait(tlp, bar=bar)
        if not self._comes_through(tlp):
            return
        if not supported or not self.serves_memory:
            self.unsupported += 1
            return
        if tlp.ep:
            return
        enables = enabled_bytes(tlp)[: len(tlp.payload)]
        offset = tlp.address - int(self.host.bars[bar])
        data = tlp.payload[: len(enables)]
        if bar == AMP_PCI.fifo_bar:
            self.oracle.stored(offset, data, enables)
        elif bar == AMP_PCI.register_bar:
            on = [at for at, enabled in enumerate(enables, offset) if enabled]
            self.oracle.rings(
                fifo
                for fifo in range(self.num_fifos)
                if any(0 <= at - AMP_PCI.notify(fifo) < 4 for at in on)
            )
        else:
            self._stored_masks(offset, data, enables)

    def _comes_through(self, tlp: Tlp) -> bool:
        """Whether a TLP is not discarded as malformed on its first beat."""
        dwords = len(tlp.payload) // 4
        lanes = int(self.parameters.data_width) // 32
        return self.core or dwords == tlp.length or min(dwords, tlp.length) > lanes

    def _stored_masks(self, offset: int, data: bytes, enables: Sequence[bool]) -> None:
        for vector in range(self.num_fifos):
            at = AMP_PCI.msix_control(vector) - offset
            if 0 <= at < len(data) and enables[at]:
                self.masked[vector] = bool(data[at] & 1)
                self.unblock()

    async def ask_nowait(
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
        requester = self.host.requester
        if requester.outstanding >= TAGS - SPARE_TAGS:
            return False
        number = self.oracle.asks()
        pending = await requester.open(tlp.replace(requester_id=self.host.requester_id))
        self.host.send_nowait(pending.request, bar=bar)

        async def answered(history: int) -> None:
            try:
                answers = await pending.answers()
            except TlpTimeout as error:
                if history == self._history:
                    self._failures.append(str(error))
                return
            if history != self._history:
                return
            if flushes:
                self.oracle.sees(self.time_ns, RANG, lambda: self.oracle.confirm(number))
            problem = check(answers)
            if problem is not None:
                self._failures.append(f"{pending.request}: {problem}")

        cocotb.start_soon(answered(self._history))
        return True

    async def refuse_nowait(self, tlp: Tlp, *, bar: int = 0) -> bool:
        """Send a request that must be completed with Unsupported Request."""

        def check(answers: list[Tlp]) -> str | None:
            good = (
                len(answers) == 1 and answers[0].status == CplStatus.UR and not answers[0].payload
            )
            return None if good else f"completed with {answers}, must be UR"

        sent = await self.ask_nowait(tlp, check, bar=bar)
        self.unsupported += sent
        return sent

    async def read_nowait(self, bar: int, offset: int, size: int) -> bool:
        """Send a read of 1 to 4,096 bytes within 4 KiB; compare the data with the RAM shadow."""
        tlp = memory_read(self.host.bars[bar] + offset, size)
        if not self.serves_memory:
            return await self.refuse_nowait(tlp, bar=bar)
        ram = self.oracle.ram
        read = ram.open_read(offset, size) if bar == AMP_PCI.fifo_bar else None

        def check(answers: list[Tlp]) -> str | None:
            if read is not None:
                ram.close_read(read)
            if any(answer.status != CplStatus.SC for answer in answers):
                return f"completed with {answers}, must be SC"
            data = b"".join(answer.payload for answer in answers)
            if len(data) != 4 * tlp.length:
                return f"completed with {len(data)} bytes, must be {4 * tlp.length}"
            if read is None:
                return None
            lead = offset & 3
            return self._compare(read, offset, data[lead : lead + size])

        sent = await self.ask_nowait(tlp, check, bar=bar)
        if not sent and read is not None:
            ram.close_read(read)
        return sent

    def _compare(self, read: dict[int, set[bytes]], offset: int, data: bytes) -> str | None:
        size = self.oracle.ram.word_bytes
        for index, values in read.items():
            base = index * size
            covered = [
                at
                for at in range(max(base, offset), min(base + size, offset + len(data)))
                if at & ~3 not in self._index_dwords and not self._engine_writes(at)
            ]
            found = bytes(data[at - offset] for at in covered)
            if not any(found == bytes(value[at - base] for at in covered) for value in values):
                want = " or ".join(value.hex() for value in values)
                return f"BAR1+{base:#x} reads {found.hex()}, must be in {want}"
        return None

    def _engine_writes(self, offset: int) -> bool:
        """Whether the push engine may write there, which makes the result of a read unknown."""
        within = offset % SPSC_PAGES.fifo_stride - SPSC_PAGES.device_queue
        return QUEUE.slots_offset <= within < QUEUE.size

    async def configure(
        self,
        *,
        memory: bool | None = None,
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
        if self.core and memory is not None:
            return False
        if not self.core and self.host.requester.outstanding >= TAGS - SPARE_TAGS:
            return False
        if memory is not None:
            self.serves_memory = memory
        if bus_master is not None:
            self.bus_master = bus_master
        if msix is not None:
            self.msix_enabled = msix
        if function_mask is not None:
            self.function_masked = function_mask
        self.unblock()
        if self.core:
            self.host.set_pins(
                bus_master_enable=int(self.bus_master),
                msix_enable=int(self.msix_enabled),
                msix_mask=int(self.function_masked),
            )
            return True
        if memory is not None or bus_master is not None:
            command = (
                self.serves_memory * MEMORY_SPACE_ENABLE.mask
                | self.bus_master * BUS_MASTER_ENABLE.mask
            )
            tlp = config_write(self.host.device_id, COMMAND, command, 0x3)
        else:
            control = (
                self.msix_enabled * MSIX_ENABLE.mask
                | self.function_masked * MSIX_FUNCTION_MASK.mask
            )
            tlp = config_write(self.host.device_id, MSIX_ENABLE.offset, control, 0xC)

        def check(answers: list[Tlp]) -> str | None:
            return None if answers[0].status == CplStatus.SC else f"completed with {answers}"

        return await self.ask_nowait(tlp, check, flushes=False)
