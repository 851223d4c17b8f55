# SPDX-License-Identifier: BSD-2-Clause
"""Quiescing: wait until nothing is in flight, then check the whole state."""

from __future__ import annotations

from collections.abc import Iterable

import cocotb

from models.layout import QueueLayout

from ..queue_bench import QueueBench
from .checker import Checker
from .device import HostileDevice
from .errors import HostileFailure
from .host import HostileHost
from .oracle import Oracle
from .streams import StreamControl

MESSAGE_CYCLES = 60
"""Limit for a message from stream to stream, without pauses between its beats, in cycles."""


def longest_packet(queue: QueueLayout) -> int:
    """Bytes of the longest packet that the device side sends."""
    return 4 * queue.slot_size


class Quiescer:
    """Waits until nothing is in flight, and checks the whole state.

    Parameters
    ----------
    bench
        The bench.
    oracle, checker
        Check the state.
    streams, host, device
        Stimuli, which must be idle.
    """

    def __init__(
        self,
        bench: QueueBench,
        oracle: Oracle,
        checker: Checker,
        *,
        streams: StreamControl,
        host: HostileHost,
        device: HostileDevice,
    ) -> None:
        self._bench = bench
        self._oracle = oracle
        self._checker = checker
        self._streams = streams
        self._host = host
        self._device = device

    @property
    def possible(self) -> bool:
        """Whether no stream is stalled and the host can read memory."""
        return self._host.settings.memory_space and not self._streams.stalled

    @property
    def _progress_cycles(self) -> int:
        """Cycles within which a packet or a message makes progress, if any is pending."""
        bench = self._bench
        longest = longest_packet(bench.queue) if bench.source.pending else bench.queue.slot_size
        beats = -(-longest * 8 // bench.parameters.data_width)
        return MESSAGE_CYCLES + self._streams.max_pause * beats

    async def quiesce(self) -> None:
        """Wait until nothing is in flight, then check the whole state.

        Raises
        ------
        HostileFailure
            A check failed.
        """
        bench, checker = self._bench, self._checker
        host, shell = bench.host, bench.shell
        await checker.wait_until(lambda: not host.source.pending, "requests are not accepted")
        await checker.wait_until(
            lambda: not host.requester.outstanding, "requests are not completed"
        )
        await checker.wait_until(lambda: self._device.idle, "DMA writes are not completed")
        version = await host.bar_read32(shell.register_bar, shell.version_offset)
        if version != shell.version:
            raise HostileFailure(f"VERSION reads {version:#x}")
        while True:
            before = (bench.sink.received, bench.source.pending)
            await bench.settle(self._progress_cycles)
            checker.check()
            if before == (bench.sink.received, bench.source.pending):
                break
        self._oracle.check_quiescent()
        await self._check_indices()
        await self._check_words(self._oracle.ram.touched)
        await self._check_pending_bits()
        self._check_counters()
        checker.raise_failure()

    async def check_ram(self) -> None:
        """Read the whole RAM back and compare it, to find stray writes.

        Raises
        ------
        HostileFailure
            A word differs.
        """
        ram = self._oracle.ram
        await self._check_words(range(len(ram) // ram.word_bytes))

    async def _read_all(self, ranges: Iterable[tuple[int, int, int]]) -> list[bytes]:
        """Read several ranges concurrently, each a BAR, an offset and a size."""
        tasks = [cocotb.start_soon(self._bench.host.bar_read(*place)) for place in ranges]
        return [await task for task in tasks]

    async def _check_indices(self) -> None:
        bench = self._bench
        fifos = sorted(self._oracle.touched)
        words = await self._read_all(
            (bench.shell.fifo_bar, base + offset, 4)
            for fifo in fifos
            for base in (bench.driver(fifo, 0), bench.device(fifo, 0))
            for offset in (bench.queue.head_offset, bench.queue.tail_offset)
        )
        values = [int.from_bytes(word, "little") for word in words]
        ready = int(bench.dut.device_queue_ready.value)
        for number, fifo in enumerate(fifos):
            driver_head, driver_tail, device_head, device_tail = values[4 * number :][:4]
            self._oracle.check_indices(
                fifo, (driver_head, driver_tail), (device_head, device_tail), ready >> fifo & 1 == 1
            )

    async def _check_words(self, words: Iterable[int]) -> None:
        """Read ``words`` of the RAM back and compare them."""
        ram = self._oracle.ram
        ranges: list[tuple[int, int]] = []
        for word in words:
            offset = word * ram.word_bytes
            if ranges and sum(ranges[-1]) == offset:
                ranges[-1] = (ranges[-1][0], ranges[-1][1] + ram.word_bytes)
            else:
                ranges.append((offset, ram.word_bytes))
        contents = await self._read_all(
            (self._bench.shell.fifo_bar, offset, size) for offset, size in ranges
        )
        for (offset, _), data in zip(ranges, contents, strict=True):
            problem = ram.mismatch(offset, data, self._host.index_words)
            if problem is not None:
                raise HostileFailure(problem)

    async def _check_pending_bits(self) -> None:
        shell = self._bench.shell
        data = await self._bench.host.bar_read(shell.msix_bar, shell.msix_pba_offset, 8)
        allowed = self._host.settings.vectors_allowed
        # Handle interrupts that left during the read of their pending bits.
        self._oracle.handle_events()
        self._oracle.check_pending(int.from_bytes(data, "little"), allowed)

    def _check_counters(self) -> None:
        dut, unsupported = self._bench.dut, self._host.unsupported
        self._oracle.check_counters(
            int(dut.count_malformed_packets.value), int(dut.count_dropped_packets.value)
        )
        counted = int(dut.count_unsupported_requests.value)
        if counted != unsupported:
            raise HostileFailure(f"{counted} unsupported requests counted, must be {unsupported}")
