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
from typing import Any, Concatenate, ParamSpec, Self, TextIO

from models.layout import PAGE

from ..queue_bench import slot_bytes
from .bench import HostileBench
from .malformed import send_malformed

LONGEST_PAUSE = 200
"""Longest pause in cycles between two beats of the device side."""
P = ParamSpec("P")


def action(
    function: Callable[Concatenate[Hostile, P], Awaitable[str | None]],
) -> Callable[Concatenate[Hostile, P], Awaitable[None]]:
    """Make a step of a history: log the call, count the fault that it returns, and check."""

    @functools.wraps(function)
    async def step(self: Hostile, /, *args: P.args, **kwargs: P.kwargs) -> None:
        arguments = ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
        self.log(f"await hostile.{function.__name__}({arguments})")
        fault = await function(self, *args, **kwargs)
        if not self.recovering:
            self.steps += 1
            self.faults.update([fault] if fault else [])
        self.bench.checker.check()

    return step


class Hostile:
    """All actions on a bench. Create it with :meth:`open`.

    Parameters
    ----------
    bench
        The bench.

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

    def __init__(self, bench: HostileBench) -> None:
        self.bench = bench
        self.program: list[str] = []
        self.trail: TextIO | None = None
        self.recovering = False
        self.steps = 0
        self.histories = 0
        self.faults: Counter[str] = Counter()
        self._messages = 0
        self._queues = bench.queues
        self._host = bench.host
        self._device = bench.device
        self._shell = bench.queues.shell
        self._queue = bench.queues.queue

    @classmethod
    async def open(cls, dut: Any) -> Self:
        """Create the bench of ``dut`` and start it; once, before all histories."""
        return cls(await HostileBench.open(dut))

    @property
    def num_fifos(self) -> int:
        """Number of FIFOs of the design."""
        return self._queues.parameters.num_fifos

    async def begin(self) -> None:
        """Start a history, with an empty program."""
        self.program.clear()
        if self.trail is not None:
            self.trail.seek(0)
            self.trail.truncate()
        self.recovering = False
        self.log("await hostile.begin()")
        self.histories += 1
        await self.bench.begin()

    def log(self, call: str) -> None:
        """Log a call of the history."""
        if self.recovering:
            return
        self.program.append(call)
        if self.trail is not None:
            print(call, file=self.trail, flush=True)

    def _next_message(self) -> bytes:
        self._messages += 1
        return slot_bytes(self._messages)

    @action
    async def wait(self, *, cycles: int) -> None:
        """Wait for clock cycles."""
        await self._queues.settle(cycles)

    @action
    async def rest(self) -> None:
        """Quiesce and check everything, unless a stream is stalled."""
        await self._quiesce_if(True)

    async def _quiesce_if(self, requested: bool) -> None:
        if requested and self.bench.quiescer.possible:
            await self.bench.quiescer.quiesce()

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
        states, layout = self.bench.oracle.driver[fifo], self._queue
        if careful:
            count = min(count, states.free_slots())
        if not count:
            return None
        rng = random.Random(order)
        slot = states.written_head()
        stores = []
        for _ in range(count):
            data = self._next_message()
            edges = sorted({0, layout.slot_size, *rng.sample(range(1, layout.slot_size), cuts)})
            base = self._queues.driver(fifo, layout.slot_offset(slot))
            stores += [(base + start, data[start:end]) for start, end in pairwise(edges)]
            slot = layout.next(slot)
        head = self._queues.driver(fifo, layout.head_offset)
        stores.append((head, slot.to_bytes(4, "little")))
        if order:
            rng.shuffle(stores)
        for offset, data in stores:
            self._host.store_nowait(self._shell.fifo_bar, offset, data)
        if not ring:
            return "message_without_doorbell"
        self._host.ring_nowait(fifo)
        if not careful:
            return "queue_overrun"
        return "stores_split_and_reordered" if order or cuts else None

    @action
    async def doorbells(self, *, first: int, count: int = 1, times: int = 1) -> str | None:
        """Ring ``count`` doorbells from ``first`` on, existing or not, ``times`` times.

        Each time, one write rings them all.
        """
        data = bytes(self._shell.notify_stride * count)
        for _ in range(times):
            self._host.store_nowait(self._shell.register_bar, self._shell.notify(first), data)
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
        base = self._queues.driver(fifo, 0) if queue == "driver" else self._queues.device(fifo, 0)
        offset = base + (self._queue.head_offset if word == "head" else self._queue.tail_offset)
        data = value.to_bytes(4, "little")[first : first + size]
        self._host.store_nowait(self._shell.fifo_bar, offset + first, data)
        return f"{queue}_{word}_scribbled"

    @action
    async def scribble(self, *, fifo: int, offset: int, size: int, seed: int) -> str | None:
        """Store random bytes anywhere in a FIFO's window, up to the end of the BAR."""
        bar = self._shell.fifo_bar
        offset += self._queues.layout.fifo_stride * fifo
        size = min(size, self._bar_sizes[bar] - offset)
        self._host.store_nowait(bar, offset, random.Random(seed).randbytes(size))
        return "memory_scribbled"

    @property
    def _bar_sizes(self) -> dict[int, int]:
        return self._shell.bar_sizes(self.num_fifos, self._queues.layout)

    @action
    async def reload_driver(self, *, fifo: int, size: int = 64) -> str | None:
        """Zero both queues of a FIFO with stores of ``size`` bytes, like a driver when loaded."""
        for base in (self._queues.driver(fifo, 0), self._queues.device(fifo, 0)):
            for start in range(0, self._queue.size, size):
                data = bytes(min(size, self._queue.size - start))
                self._host.store_nowait(self._shell.fifo_bar, base + start, data)
        return "driver_reloaded"

    @action
    async def read(self, *, bar: int, offset: int, size: int) -> None:
        """Read bytes of a BAR, within 4 KiB."""
        offset %= self._bar_sizes[bar]
        await self._host.read_nowait(bar, offset, min(size, PAGE - offset % PAGE))

    @action
    async def malformed(self, *, kind: str, fifo: int) -> str | None:
        """Send an invalid request, one of :data:`~testbench.hostile.malformed.KINDS`."""
        sent = await send_malformed(self._queues, self._host, kind, fifo, self._next_message())
        return kind if sent else None

    @action
    async def mask(self, *, vector: int, masked: bool, rest: bool = False) -> str | None:
        """Set or clear the mask bit of a vector.

        The oracle excludes interrupts of a masked vector from the next :meth:`rest` on; with
        ``rest``, from the end of this step.
        """
        offset = self._shell.msix_control(vector)
        self._host.store_nowait(self._shell.msix_bar, offset, bytes([masked, 0, 0, 0]))
        await self._quiesce_if(rest)
        return "vector_masked" if masked else None

    @action
    async def mask_function(self, *, masked: bool, rest: bool = False) -> str | None:
        """Set or clear the function mask; ``rest`` as for :meth:`mask`."""
        changed = await self._host.configure(function_mask=masked)
        await self._quiesce_if(rest)
        return "function_masked" if masked and changed else None

    @action
    async def enable_msix(self, *, enabled: bool, rest: bool = False) -> str | None:
        """Set or clear MSI-X Enable; ``rest`` as for :meth:`mask`."""
        changed = await self._host.configure(msix=enabled)
        await self._quiesce_if(rest)
        return None if enabled or not changed else "msix_disabled"

    @action
    async def enable_bus_master(self, *, enabled: bool, rest: bool = False) -> str | None:
        """Set or clear Bus Master Enable; ``rest`` as for :meth:`mask`."""
        changed = await self._host.configure(bus_master=enabled)
        await self._quiesce_if(rest)
        return None if enabled or not changed else "bus_master_off"

    @action
    async def enable_memory(self, *, enabled: bool) -> str | None:
        """Set or clear Memory Space Enable, where the function has it."""
        changed = await self._host.configure(memory_space=enabled)
        return None if enabled or not changed else "memory_space_off"

    @action
    async def stall_host(self, *, stalled: bool, which: int = 0) -> str | None:
        """Stall one of the streams to the host, or resume it."""
        sinks = self.bench.streams.host_sinks
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
            self._queues.sink.pause()
            return "device_stalled"
        self._queues.sink.resume()
        return None

    @action
    async def pace(self, *, seed: int, longest: int) -> str | None:
        """Set random pauses on all streams of host and device side; ``longest`` 0 for none."""
        self.bench.streams.pace(seed=seed, longest=longest)
        return "random_pauses" if longest else None

    @action
    async def answer(self, *, fifo: int, size: int | None = None, count: int = 1) -> None:
        """Send messages of 8 to 64 bytes, or whole slots, from the device side."""
        for _ in range(count):
            self._device.send(fifo, self._next_message()[:size])

    @action
    async def answer_with_data(self, *, fifo: int, dwords: int) -> None:
        """Write to host memory from the device side, then send a message without waiting."""
        if not self._device.write_in_progress:
            message = self._next_message()
            data = random.Random(self._messages).randbytes(4 * dwords)
            self._device.write_and_send(fifo, message, data)

    @action
    async def bad_packet(self, *, fifo: int, size: int) -> str | None:
        """Send a packet of any size, 1 byte or more, from the device side to any FIFO number."""
        slot_size = self._queue.slot_size
        self._device.send(fifo, (self._next_message() * (size // slot_size + 1))[:size])
        if fifo >= self.num_fifos:
            return "packet_for_no_fifo"
        return "packet_too_short" if size < slot_size else "packet_too_long"

    @action
    async def stop_packet(self, *, cycles: int) -> str | None:
        """Pause the device side before every beat, including beats within packets."""
        self.bench.streams.pause_device(min(cycles, LONGEST_PAUSE))
        return "packet_stopped" if cycles else None

    @action
    async def consume(self, *, fifo: int) -> None:
        """Free all slots of a device queue that the host may have seen, by a store to tail."""
        states = self.bench.oracle.device[fifo]
        head = states.index_of(min(states.states).head)
        offset = self._queues.device(fifo, self._queue.tail_offset)
        self._host.store_nowait(self._shell.fifo_bar, offset, head.to_bytes(4, "little"))

    @action
    async def reset_function(self) -> str | None:
        """Reset the function (FLR) at any time; the host enables it again."""
        await self.bench.reset_function()
        return "function_reset"

    @action
    async def hot_reset(self, *, cycles: int = 3) -> str | None:
        """Assert ``rst`` for 2 cycles or more at any time; the host enables the function again."""
        await self.bench.restart(cycles=cycles)
        return "hot_reset"
