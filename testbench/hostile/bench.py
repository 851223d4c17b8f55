# SPDX-License-Identifier: BSD-2-Clause
"""A bench whose every store, request, packet and pulse the oracle hears of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import cocotb
from cocotb.triggers import First

from models.config_space import (
    BUS_MASTER_ENABLE,
    COMMAND,
    MEMORY_SPACE_ENABLE,
    MSIX_ENABLE,
    MSIX_FUNCTION_MASK,
)
from models.layout import MIN_MESSAGE, PAGE, SPSC_PAGES
from models.shell import AMP_PCI

from ..axi_dma import AxiDma
from ..axis import AxisMessage
from ..completions import HostError, TlpTimeout, split
from ..packets import config_write, enabled_bytes, memory_read, memory_write
from ..queue_bench import QUEUE, QueueBench
from ..streams import Sink
from ..system import CLOCK_PERIOD_NS
from ..tlp import Status, Tlp
from .errors import HostileFailure
from .oracle import CAME_OUT, INTERRUPTED, RANG, RESET, RESET_TOLD, TAKEN, Oracle, Tally
from .promises import Promises
from .words import RamView

TAGS = 32
SPARE_TAGS = 2
"""Tags that no request of a history takes, so that one to look around with never waits."""
HOST_TIMEOUT_US = 500.0
MESSAGE_CYCLES = 60
"""Longer than a message takes from one stream to the next, without pauses between its beats."""
LONGEST_PACKET = 4 * QUEUE.slot_size
"""Bytes of the longest packet that the device side sends."""
MOST_CYCLES = 200_000
"""Far longer than it takes to work off all that a history can ask for."""

Check = Callable[[list[Tlp]], str | None]
"""Says what is wrong with the completions of a request."""


class HostileBench(QueueBench):
    """Sends what it is told to without waiting, and tells the oracle.

    Attributes
    ----------
    oracle
        Knows what must hold.
    tally
        What was found to be right.
    serves_memory
        Whether Memory Space Enable is set in what the host has sent.
    masked, msix_enabled, function_masked, bus_master
        What the host has sent, of all that holds interrupts back.
    layout, sizes
        Of the shared RAM; bytes of each BAR.
    dma
        The device side's window onto host memory.
    region
        Bus address of a page of host memory, for the device side.
    promises
        What else it writes there.
    writing
        Whether there is data under way whose message is still to be sent.
    unsupported
        Requests sent that are not supported.
    pause
        Cycles between two beats of a stream, at most, unless somebody stalls.
    """

    def __init__(self, dut: Any) -> None:
        super().__init__(dut, tags=TAGS, timeout_us=HOST_TIMEOUT_US)
        self.dma = AxiDma(dut)
        self.num_fifos = self.parameters.num_fifos
        self.core = self.parameters.top == "core"
        self.monitor.fatal = False
        self.tally = Tally()
        self._failures: list[str] = []
        self._history = 0
        self._ended_well = False
        self._receive = self.host.receive
        self.host.receive = self._received
        self.host.on_interrupt.append(self._interrupted)
        self.sink.on_packet = self._came_out
        self.source.on_accept.append(self._taken)
        self._watch = cocotb.start_soon(self._watch_pulses())
        self._index_dwords = frozenset(
            base + offset
            for fifo in range(self.num_fifos)
            for base in (self.driver(fifo, 0), self.device(fifo, 0))
            for offset in (QUEUE.head_offset, QUEUE.tail_offset)
        )
        self.layout = SPSC_PAGES
        self.sizes = AMP_PCI.bar_sizes(self.num_fifos, SPSC_PAGES)
        self.unsupported = 0
        self.pause = 0
        self.writing = False

    @property
    def host_sinks(self) -> dict[str, Sink[Any]]:
        """The streams on which the design sends TLPs, by prefix."""
        return self.host.sinks if self.core else {"tx_tlp": self.host.sink}

    async def open(self) -> None:
        """Reset the design and learn what its RAM holds. Once, before all histories."""
        await self.start()
        self.region = self.host.memory.allocate(PAGE)
        self.promises = Promises(self.dut, self.dma, self.host.memory, self._failures)
        self.oracle = Oracle(self.num_fifos, await self._view(), self.tally)

    async def _view(self) -> RamView:
        content = await self.host.bar_read(AMP_PCI.fifo_bar, 0, self.sizes[AMP_PCI.fifo_bar])
        return RamView(content, self.parameters.data_width // 8)

    async def begin(self) -> None:
        """Bring everything to a known state, RAM apart: the start of a history."""
        if self._ended_well:
            await self.restart(cycles=2)
        else:
            self.oracle.give_up()
            await self.restart(cycles=2)
            self.oracle.begin(await self._view())
            self.monitor.violations.clear()
            self._failures.clear()
        self._ended_well = False

    def end(self) -> None:
        """The history ended as it should."""
        self._ended_well = True

    async def hurry(self) -> None:
        """No pauses and no stalls from now on, those under way included."""
        self._unblock_streams()
        await self.settle(self.pause)
        self.pause = 0

    def _unblock_streams(self) -> None:
        for sink in (self.sink, *self.host_sinks.values()):
            sink.resume()
            sink.set_stall(None)
        for source in (self.source, self.host.source):
            source.set_idle(None)

    async def restart(self, *, cycles: int) -> None:
        """Hold ``rst`` for so many cycles, then enable the function."""
        self._history += 1
        self._unblock_streams()
        self.pause = 0
        # A source that was just given packets begins with them, and so drops them in the reset.
        await self.settle(1)
        self.dut.rst.value = 1
        if self.core:
            self.host.set_pins(function_reset=0, msix_mask=0)
        await self.settle(cycles)
        self.host.requester.abandon()
        self.host.memory.abandon()
        self.promises.forget()
        self.oracle.cut_off()
        self.unsupported = 0
        self.dut.rst.value = 0
        await self.settle(1)
        await self.enable()

    async def enable(self) -> None:
        """Have the host enable the function after a reset, and fill in its table."""
        await self.host.restore()
        self.serves_memory = self.bus_master = self.msix_enabled = True
        self.function_masked = False
        self.masked = [False] * self.num_fifos
        self.unblock()

    def unblock(self) -> None:
        """Interrupts may come again."""
        for vector in self.oracle.vectors:
            vector.blocked = False

    def store_nowait(self, bar: int, offset: int, data: bytes) -> None:
        """Send a store of any size and alignment."""
        for address, count in split(self.host.bars[bar] + offset, len(data), self._max_payload):
            piece, data = data[:count], data[count:]
            self.send_write(bar, memory_write(address, piece, requester_id=self.host.requester_id))

    @property
    def _max_payload(self) -> int:
        return int(self.host.max_payload_size)

    def send_write(self, bar: int, tlp: Tlp, *, supported: bool = True) -> None:
        """Send a memory write that the request's own fields may keep from taking effect."""
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
        """Whether a TLP is not discarded whole, its first beat showing that it is malformed."""
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
        """Send a request; ``check`` looks at its completions when they are there.

        Parameters
        ----------
        flushes
            Whether its answer says that every store before it took effect.

        Returns
        -------
        bool
            Whether there was a tag for it.
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
        """Send a request that must be answered with Unsupported Request."""

        def check(answers: list[Tlp]) -> str | None:
            good = len(answers) == 1 and answers[0].status == Status.UR and not answers[0].payload
            return None if good else f"must be refused, got {answers}"

        sent = await self.ask_nowait(tlp, check, bar=bar)
        self.unsupported += sent
        return sent

    async def read_nowait(self, bar: int, offset: int, size: int) -> bool:
        """Send a read of 1 to 4,096 bytes within 4 KiB; what the RAM holds is compared."""
        tlp = memory_read(self.host.bars[bar] + offset, size)
        if not self.serves_memory:
            return await self.refuse_nowait(tlp, bar=bar)
        ram = self.oracle.ram
        read = ram.open_read(offset, size) if bar == AMP_PCI.fifo_bar else None

        def check(answers: list[Tlp]) -> str | None:
            if read is not None:
                ram.close_read(read)
            if any(answer.status != Status.SC for answer in answers):
                return f"refused: {answers}"
            data = b"".join(answer.payload for answer in answers)
            if len(data) != 4 * tlp.length:
                return f"{len(data)} bytes came"
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
                return f"BAR1+{base:#x} reads {found.hex()}, must be of {want}"
        return None

    def _engine_writes(self, offset: int) -> bool:
        """Whether the push engine may be writing there: what a read finds is not known."""
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
        """Switch what configuration space or the hard block's pins switch; returns if it could.

        A function behind a hard block has no Memory Space Enable of its own.
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
            return None if answers[0].status == Status.SC else f"refused: {answers}"

        return await self.ask_nowait(tlp, check, flushes=False)

    def offer(self, fifo: int, data: bytes) -> None:
        """Have the device side send a packet of any size."""
        well_formed = fifo < self.num_fifos and MIN_MESSAGE <= len(data) <= QUEUE.slot_size
        self.oracle.offers(fifo, data, well_formed=well_formed)
        self.source.send_nowait(AxisMessage(fifo, data))

    async def write_and_offer(self, fifo: int, message: bytes, data: bytes) -> None:
        """Have the device side write data to host memory and send a message that promises it."""
        history = self._history
        if await self.promises.write(fifo, message, data) and history == self._history:
            self.offer(fifo, message)
        self.writing = False

    def check(self) -> None:
        """Judge what was seen up to now.

        Raises
        ------
        HostileFailure
            Something is wrong.
        """
        self.oracle.catch_up(self.time_ns - 1.5 * CLOCK_PERIOD_NS)
        self._raise()

    def _raise(self) -> None:
        if self.monitor.violations:
            raise HostileFailure("; ".join(str(item) for item in self.monitor.violations))
        if self._failures:
            raise HostileFailure(self._failures[0])

    def _received(self, tlp: Tlp) -> None:
        try:
            self._receive(tlp)
        except HostError as error:
            self._failures.append(str(error))

    def _interrupted(self, vector: int) -> None:
        self.promises.interrupted(vector, self.time_ns)
        self.oracle.sees(self.time_ns, INTERRUPTED, lambda: self.oracle.interrupted(vector))

    def _came_out(self, message: AxisMessage) -> None:
        self.oracle.sees(
            self.time_ns, CAME_OUT, lambda: self.oracle.came_out(message.fifo, message.data)
        )

    def _taken(self, packet: AxisMessage) -> None:
        self.promises.taken(packet.data, self.time_ns)
        self.oracle.sees(self.time_ns, TAKEN, self.oracle.taken)

    async def _watch_pulses(self) -> None:
        dut, edge = self.dut, self.dut.clk.rising_edge
        doorbell, reset = dut.doorbell, dut.host_reset
        while True:
            # A pulse begins between two edges and is sampled at the second.
            await First(doorbell.value_change, reset.value_change)
            await edge
            while True:
                if dut.rst.value == 1:
                    break
                rung, was_reset = int(doorbell.value), int(reset.value)
                if not rung and not was_reset:
                    break
                now = self.time_ns
                if was_reset:
                    # Told a cycle late.
                    self.oracle.sees(now - CLOCK_PERIOD_NS, RESET, self.oracle.reset)
                    self.oracle.sees(now, RESET_TOLD, self.oracle.reset_told)
                for fifo in range(rung.bit_length()):
                    if rung >> fifo & 1:
                        self.oracle.sees(now, RANG, partial(self.oracle.rang, fifo))
                await edge

    async def wait_until(self, done: Callable[[], bool], what: str, step: int = 20) -> None:
        """Let cycles pass until ``done``.

        Raises
        ------
        HostileFailure
            That took far too long.
        """
        for _ in range(0, MOST_CYCLES, step):
            if done():
                return
            await self.settle(step)
            self.check()
        raise HostileFailure(f"{what} after {MOST_CYCLES} cycles")

    @property
    def calm(self) -> bool:
        """Whether nobody stalls and the host can look around."""
        return self.serves_memory and not any(
            sink.paused for sink in (self.sink, *self.host_sinks.values())
        )

    @property
    def _patience(self) -> int:
        """Cycles in which some packet is taken or message comes out, if any is still to."""
        longest = LONGEST_PACKET if self.source.pending else QUEUE.slot_size
        return MESSAGE_CYCLES + self.pause * -(-longest * 8 // self.parameters.data_width)

    async def come_to_rest(self) -> None:
        """Let everything that is under way end, and check it and all that it left behind.

        Raises
        ------
        HostileFailure
            Something is wrong.
        """
        host = self.host
        await self.wait_until(lambda: not host.source.pending, "requests are not taken")
        await self.wait_until(lambda: not host.requester.outstanding, "requests are not answered")
        await self.wait_until(
            lambda: not self.writing and not self.promises.pending, "data does not leave"
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
            raise HostileFailure(f"{counted} unsupported requests counted, not {self.unsupported}")
        self._raise()

    async def read_all(self, places: Iterable[tuple[int, int, int]]) -> list[bytes]:
        """Read several ranges at a time, each a BAR, an offset and a size."""
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
        """Read these words of the RAM back.

        Raises
        ------
        HostileFailure
            One of them is not what it must be.
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
        """Read the whole RAM back: nobody touched what nobody should."""
        await self.check_ram(range(len(self.oracle.ram) // self.oracle.ram.word_bytes))

    async def _check_interrupts(self) -> None:
        data = await self.host.bar_read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 8)
        on = self.msix_enabled and not self.function_masked and self.bus_master
        # Those that the read found pending may leave while it is under way, or have just left.
        self.oracle.catch_up()
        self.oracle.check_interrupts(
            int.from_bytes(data, "little"), [on and not masked for masked in self.masked]
        )
