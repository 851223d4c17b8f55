# SPDX-License-Identifier: BSD-2-Clause
"""Actions of a hostile host and a misbehaving device side: coroutines with plain arguments.

A history is a sequence of actions. Except for resets, they do not wait for their effect, so that
they overlap inside the gateware; :meth:`Hostile.wait` lets time pass. A failure prints its history
as a program of these calls, which can be pasted into a test.
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, Concatenate, ParamSpec, TextIO

import cocotb

from models.config_space import INITIATE_FLR
from models.layout import PAGE
from models.shell import AMP_PCI

from ..queue_bench import QUEUE, slot_bytes
from ..stream import pacing
from .malformed import send_malformed
from .quiesce import QuiesceBench
from .state_set import index_of

LONGEST_PAUSE = 200
"""Longest pause in cycles between two beats of the device side."""
P = ParamSpec("P")


def action(
    function: Callable[Concatenate[Hostile, P], Awaitable[str | None]],
) -> Callable[Concatenate[Hostile, P], Awaitable[None]]:
    """Make a step of a history: log the call, count the fault that it returns, and check."""

    @functools.wraps(function)
    async def step(self: Hostile, /, *args: P.args, **kwargs: P.kwargs) -> None:
        said = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        self.note(f"await hostile.{function.__name__}({said})")
        fault = await function(self, *args, **kwargs)
        if not self.recovering:
            self.steps += 1
            self.faults.update([fault] if fault else [])
        self.check()

    return step


class Hostile(QuiesceBench):
    """The bench with all actions.

    Attributes
    ----------
    program
        Calls of the current history, as Python.
    trail
        A file with the same calls, which survives a simulator that hangs; ``None`` for none.
    recovering
        Whether the recovery at the end of the history runs: its steps are not in the program and
        are not counted.
    histories, steps
        Number of histories so far, and of their steps.
    faults
        Number of injected faults of each kind.
    """

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.program: list[str] = []
        self.trail: TextIO | None = None
        self.recovering = False
        self.steps = 0
        self.histories = 0
        self.faults: Counter[str] = Counter()
        self._message = 0

    async def begin(self) -> None:
        """As :meth:`~testbench.hostile.bench.HostileBench.begin`; also clear the program."""
        self.program.clear()
        if self.trail is not None:
            self.trail.seek(0)
            self.trail.truncate()
        self.recovering = False
        self.note("await hostile.begin()")
        self.histories += 1
        await super().begin()

    def note(self, call: str) -> None:
        """Log a call of the history."""
        if self.recovering:
            return
        self.program.append(call)
        if self.trail is not None:
            print(call, file=self.trail, flush=True)

    def _next_message(self, size: int = QUEUE.slot_size) -> bytes:
        self._message += 1
        return slot_bytes(self._message)[:size]

    @action
    async def wait(self, *, cycles: int) -> None:
        """Wait for clock cycles."""
        await self.settle(cycles)

    @action
    async def rest(self) -> None:
        """Quiesce and check everything, unless a stream is stalled."""
        await self._rest_if(True)

    async def _rest_if(self, wanted: bool) -> None:
        if wanted and self.calm:
            await self.come_to_rest()

    @action
    async def publish(
        self,
        *,
        fifo: int,
        count: int = 1,
        order: int = 0,
        cuts: int = 0,
        ring: bool = True,
        careful: bool = True,
    ) -> str | None:
        """Write messages to the driver queue and ring the doorbell, as a driver does.

        Parameters
        ----------
        fifo
            The FIFO.
        count
            Messages published by one head update and doorbell, 1 or more.
        order
            Seed of the order of the stores before the doorbell, which write combining may change; 0
            for slots first and head last.
        cuts
            Number of stores for each slot, less one.
        ring
            Whether to ring the doorbell.
        careful
            Whether to write only as many messages as fit.
        """
        queue = self.oracle.driver[fifo]
        if careful:
            count = min(count, queue.free_slots())
        if not count:
            return None
        rng = random.Random(order)
        slot = queue.written_head()
        stores = []
        for _ in range(count):
            data = self._next_message()
            edges = sorted({0, QUEUE.slot_size, *rng.sample(range(1, QUEUE.slot_size), cuts)})
            base = self.driver(fifo, QUEUE.slot_offset(slot))
            stores += [(base + start, data[start:end]) for start, end in pairwise(edges)]
            slot = QUEUE.next(slot)
        stores.append((self.driver(fifo, QUEUE.head_offset), slot.to_bytes(4, "little")))
        if order:
            rng.shuffle(stores)
        for offset, data in stores:
            self.store_nowait(AMP_PCI.fifo_bar, offset, data)
        if not ring:
            return "message_without_doorbell"
        self._ring(fifo)
        if not careful:
            return "queue_overrun"
        return "stores_split_and_reordered" if order or cuts else None

    def _ring(self, fifo: int) -> None:
        self.store_nowait(AMP_PCI.register_bar, AMP_PCI.notify(fifo), b"\1\0\0\0")

    @action
    async def doorbells(self, *, first: int, count: int = 1, times: int = 1) -> str | None:
        """Ring ``count`` doorbells from ``first`` on, existing or not, ``times`` times.

        Each time, one write rings them all.
        """
        for _ in range(times):
            offset = AMP_PCI.notify(first)
            self.store_nowait(AMP_PCI.register_bar, offset, bytes(AMP_PCI.notify_stride * count))
        return "doorbell_without_message" if times == 1 else "doorbell_storm"

    @action
    async def scribble_index(
        self, *, fifo: int, queue: str, word: str, value: int, first: int = 0, size: int = 4
    ) -> str | None:
        """Store any value to bytes of an index word.

        Parameters
        ----------
        fifo, queue, word
            The index word; ``queue`` is ``driver`` or ``device``, ``word`` is ``head`` or ``tail``.
        value
            32 bits; bytes ``first`` to ``first + size`` of it are stored.
        first, size
            Range of bytes within the word.
        """
        base = self.driver(fifo, 0) if queue == "driver" else self.device(fifo, 0)
        offset = base + (QUEUE.head_offset if word == "head" else QUEUE.tail_offset)
        data = value.to_bytes(4, "little")[first : first + size]
        self.store_nowait(AMP_PCI.fifo_bar, offset + first, data)
        return f"{queue}_{word}_scribbled"

    @action
    async def scribble(self, *, fifo: int, offset: int, size: int, seed: int) -> str | None:
        """Store random bytes anywhere in a FIFO's window, up to the end of the BAR."""
        offset += self.layout.fifo_stride * fifo
        size = min(size, self.sizes[AMP_PCI.fifo_bar] - offset)
        data = random.Random(seed).randbytes(size)
        self.store_nowait(AMP_PCI.fifo_bar, offset, data)
        return "memory_scribbled"

    @action
    async def reload_driver(self, *, fifo: int, size: int = 64) -> str | None:
        """Zero both queues of a FIFO with stores of ``size`` bytes, like a driver when loaded."""
        for base in (self.driver(fifo, 0), self.device(fifo, 0)):
            for start in range(0, QUEUE.size, size):
                data = bytes(min(size, QUEUE.size - start))
                self.store_nowait(AMP_PCI.fifo_bar, base + start, data)
        return "driver_reloaded"

    @action
    async def read(self, *, bar: int, offset: int, size: int) -> None:
        """Read bytes of a BAR, within 4 KiB."""
        offset %= self.sizes[bar]
        await self.read_nowait(bar, offset, min(size, PAGE - offset % PAGE))

    @action
    async def malformed(self, *, kind: str, fifo: int) -> str | None:
        """Send an invalid request, one of :data:`~testbench.hostile.malformed.KINDS`."""
        sent = await send_malformed(self, kind, fifo, self._next_message())
        return kind if sent else None

    @action
    async def mask(self, *, vector: int, masked: bool, rest: bool = False) -> str | None:
        """Set or clear the mask bit of a vector.

        The oracle excludes interrupts of a masked vector from the next :meth:`rest` on; with
        ``rest``, from the end of this step.
        """
        offset = AMP_PCI.msix_control(vector)
        self.store_nowait(AMP_PCI.msix_bar, offset, bytes([masked, 0, 0, 0]))
        await self._rest_if(rest)
        return "vector_masked" if masked else None

    @action
    async def mask_function(self, *, masked: bool, rest: bool = False) -> str | None:
        """Set or clear the function mask; ``rest`` as for :meth:`mask`."""
        done = await self.configure(function_mask=masked)
        await self._rest_if(rest)
        return "function_masked" if masked and done else None

    @action
    async def enable_msix(self, *, enabled: bool, rest: bool = False) -> str | None:
        """Set or clear MSI-X Enable; ``rest`` as for :meth:`mask`."""
        done = await self.configure(msix=enabled)
        await self._rest_if(rest)
        return None if enabled or not done else "msix_disabled"

    @action
    async def enable_bus_master(self, *, enabled: bool, rest: bool = False) -> str | None:
        """Set or clear Bus Master Enable; ``rest`` as for :meth:`mask`."""
        done = await self.configure(bus_master=enabled)
        await self._rest_if(rest)
        return None if enabled or not done else "bus_master_off"

    @action
    async def enable_memory(self, *, enabled: bool) -> str | None:
        """Set or clear Memory Space Enable, where the function has it."""
        done = await self.configure(memory=enabled)
        return None if enabled or not done else "memory_space_off"

    @action
    async def stall_host(self, *, stalled: bool, which: int = 0) -> str | None:
        """Stall one of the streams to the host, or resume it."""
        sinks = list(self.host.sinks.values())
        sink = sinks[which % len(sinks)]
        if stalled:
            sink.pause()
            return "host_stalled"
        sink.resume()
        return None

    @action
    async def stall_device(self, *, stalled: bool) -> str | None:
        """Stall the message stream to the device side, or resume it."""
        if stalled:
            self.sink.pause()
            return "device_stalled"
        self.sink.resume()
        return None

    @action
    async def pace(self, *, seed: int, longest: int) -> str | None:
        """Set random pauses on all streams of host and device side; ``longest`` 0 for none."""
        rng = random.Random(seed)
        self.pause = max(self.pause, longest)
        for sink in (self.sink, *self.host.sinks.values()):
            sink.set_stall(self._pauses(rng, longest))
        for source in (self.source, self.host.source):
            source.set_idle(self._pauses(rng, longest))
        return "random_pauses" if longest else None

    @staticmethod
    def _pauses(rng: random.Random, longest: int) -> Any:
        return pacing.randomly(rng.getrandbits(32), 0.5, longest) if longest else None

    @action
    async def answer(self, *, fifo: int, size: int = QUEUE.slot_size, count: int = 1) -> None:
        """Send messages of 8 to 64 bytes from the device side to an existing FIFO."""
        for _ in range(count):
            self.offer(fifo, self._next_message(size))

    @action
    async def answer_with_data(self, *, fifo: int, dwords: int) -> None:
        """Write to host memory from the device side, then send a message without waiting."""
        if not self.writing:
            message = self._next_message()
            data = random.Random(self._message).randbytes(4 * dwords)
            self.writing = True
            cocotb.start_soon(self.write_and_offer(fifo, message, data))

    @action
    async def bad_packet(self, *, fifo: int, size: int) -> str | None:
        """Send a packet of any size, 1 byte or more, from the device side to any FIFO number."""
        self.offer(fifo, (self._next_message() * (size // QUEUE.slot_size + 1))[:size])
        if fifo >= self.num_fifos:
            return "packet_for_no_fifo"
        return "packet_too_short" if size < QUEUE.slot_size else "packet_too_long"

    @action
    async def stop_packet(self, *, cycles: int) -> str | None:
        """Pause the device side before every beat, including beats within packets."""
        cycles = min(cycles, LONGEST_PAUSE)
        self.pause = max(self.pause, cycles)
        self.source.set_idle(pacing.every([cycles]) if cycles else None)
        return "packet_stopped" if cycles else None

    @action
    async def consume(self, *, fifo: int) -> None:
        """Free all slots of a device queue that the host may have seen, by a store to tail."""
        head = index_of(min(self.oracle.device[fifo].states).head)
        offset = self.device(fifo, QUEUE.tail_offset)
        self.store_nowait(AMP_PCI.fifo_bar, offset, head.to_bytes(4, "little"))

    @action
    async def reset_function(self) -> str | None:
        """Reset the function (FLR) at any time.

        The host waits for the completion and enables the function again. A hard block passes on all
        earlier requests first, then pulses ``function_reset``.
        """
        # The first sink has the completions: while it is stalled, requests are not accepted.
        next(iter(self.host.sinks.values())).resume()
        if self.core:
            await self.wait_until(lambda: not self.host.source.pending, "requests are not taken")
            self.host.set_pins(function_reset=1)
            await self.settle(1)
            self.host.set_pins(function_reset=0)
            table = self.host.msix_table(self.num_fifos)
            self.store_nowait(AMP_PCI.msix_bar, AMP_PCI.msix_table_offset, table)
            return "function_reset"
        control = await self.host.config_read(INITIATE_FLR.offset)
        await self.host.config_write(INITIATE_FLR.offset, control & 0xFFFF | INITIATE_FLR.mask)
        await self.settle(2)
        await self.enable()
        return "function_reset"

    @action
    async def hot_reset(self, *, cycles: int = 3) -> str | None:
        """Assert ``rst`` for 2 cycles or more at any time; the host enables the function again."""
        await self.restart(cycles=cycles)
        return "hot_reset"
