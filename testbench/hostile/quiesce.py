# SPDX-License-Identifier: BSD-2-Clause
"""Quiescing: wait until nothing is in flight, then check the whole state."""

from __future__ import annotations

from collections.abc import Iterable

import cocotb

from models.shell import AMP_PCI

from ..queue_bench import QUEUE
from .errors import HostileFailure
from .requests import RequestBench

MESSAGE_CYCLES = 60
"""Limit for a message from stream to stream, without pauses between its beats, in cycles."""
LONGEST_PACKET = 4 * QUEUE.slot_size
"""Bytes of the longest packet that the device side sends."""


class QuiesceBench(RequestBench):
    """A bench that can quiesce and then check the whole state."""

    @property
    def calm(self) -> bool:
        """Whether no stream is stalled and the host can read memory."""
        return self.serves_memory and not any(
            sink.paused for sink in (self.sink, *self.host.sinks.values())
        )

    @property
    def _patience(self) -> int:
        """Cycles within which a packet or a message makes progress, if any is pending."""
        longest = LONGEST_PACKET if self.source.pending else QUEUE.slot_size
        return MESSAGE_CYCLES + self.pause * -(-longest * 8 // self.parameters.data_width)

    async def come_to_rest(self) -> None:
        """Wait until nothing is in flight, then check the whole state.

        Raises
        ------
        HostileFailure
            A check failed.
        """
        host = self.host
        await self.wait_until(lambda: not host.source.pending, "requests are not accepted")
        await self.wait_until(lambda: not host.requester.outstanding, "requests are not completed")
        await self.wait_until(
            lambda: not self.writing and not self.promises.pending, "DMA writes are not completed"
        )
        offset = AMP_PCI.version_offset
        version = await host.bar_read32(AMP_PCI.register_bar, offset)
        if version != AMP_PCI.version:
            raise HostileFailure(f"VERSION reads {version:#x}")
        while True:
            before = (self.sink.received, self.source.pending)
            await self.settle(self._patience)
            self.check()
            if before == (self.sink.received, self.source.pending):
                break
        self.oracle.at_rest()
        await self._check_indices()
        await self.check_ram(self.oracle.ram.touched)
        await self._check_interrupts()
        self.oracle.check_dropped(
            int(self.dut.count_malformed_packets.value), int(self.dut.count_dropped_packets.value)
        )
        counted = int(self.dut.count_unsupported_requests.value)
        if counted != self.unsupported:
            raise HostileFailure(
                f"{counted} unsupported requests counted, must be {self.unsupported}"
            )
        self._raise()

    async def read_all(self, places: Iterable[tuple[int, int, int]]) -> list[bytes]:
        """Read several ranges concurrently, each a BAR, an offset and a size."""
        tasks = [cocotb.start_soon(self.host.bar_read(*place)) for place in places]
        return [await task for task in tasks]

    async def _check_indices(self) -> None:
        fifos = sorted(self.oracle.touched)
        bar = AMP_PCI.fifo_bar
        words = await self.read_all(
            (bar, base + offset, 4)
            for fifo in fifos
            for base in (self.driver(fifo, 0), self.device(fifo, 0))
            for offset in (QUEUE.head_offset, QUEUE.tail_offset)
        )
        values = [int.from_bytes(word, "little") for word in words]
        ready = int(self.dut.device_queue_ready.value)
        for number, fifo in enumerate(fifos):
            driver_head, driver_tail, device_head, device_tail = values[4 * number :][:4]
            self.oracle.reads(
                fifo, (driver_head, driver_tail), (device_head, device_tail), ready >> fifo & 1 == 1
            )

    async def check_ram(self, words: Iterable[int]) -> None:
        """Read ``words`` of the RAM back and compare them.

        Raises
        ------
        HostileFailure
            A word differs.
        """
        ram = self.oracle.ram
        ranges: list[tuple[int, int]] = []
        for word in words:
            offset = word * ram.word_bytes
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + ram.word_bytes)
            else:
                ranges.append((offset, ram.word_bytes))
        found = await self.read_all((AMP_PCI.fifo_bar, *place) for place in ranges)
        for (offset, _), data in zip(ranges, found, strict=True):
            problem = ram.mismatch(offset, data, self._index_dwords)
            if problem is not None:
                raise HostileFailure(problem)

    async def sweep(self) -> None:
        """Read the whole RAM back and compare it, to find stray writes."""
        await self.check_ram(range(len(self.oracle.ram) // self.oracle.ram.word_bytes))

    async def _check_interrupts(self) -> None:
        data = await self.host.bar_read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 8)
        on = self.msix_enabled and not self.function_masked and self.bus_master
        # Handle interrupts that left during the read of their pending bits.
        self.oracle.catch_up()
        self.oracle.check_interrupts(
            int.from_bytes(data, "little"), [on and not masked for masked in self.masked]
        )
