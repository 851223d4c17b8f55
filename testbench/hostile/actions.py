# SPDX-License-Identifier: BSD-2-Clause
"""What a hostile host and a misbehaving device side do, each as a coroutine with plain arguments.

A history is a sequence of these. None waits for an effect, resets apart, so that they meet inside
the gateware; :meth:`Hostile.wait` lets time pass. The program that a failure prints is a sequence
of the same calls, so it can be pasted into a test.
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
"""Cycles between two beats of a device side that stops in the middle of a packet."""
P = ParamSpec("P")


def action(
    function: Callable[Concatenate[Hostile, P], Awaitable[str | None]],
) -> Callable[Concatenate[Hostile, P], Awaitable[None]]:
    """A step of a history: it is written down and judged, and counted as the fault it returns."""

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
    """The actions.

    Attributes
    ----------
    program
        The calls of the history so far, as Python.
    trail
        A file that has them too, for whoever finds a simulator that hangs.
    recovering
        The rest puts things right again: its steps neither belong to the program nor count.
    histories, steps
        How many there were, and their steps.
    faults
        How often each kind of fault was injected.
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
        """As :meth:`~testbench.hostile.bench.HostileBench.begin`, with an empty program."""
        self.program.clear()
        if self.trail is not None:
            self.trail.seek(0)
            self.trail.truncate()
        self.recovering = False
        self.note("await hostile.begin()")
        self.histories += 1
        await super().begin()

    def note(self, call: str) -> None:
        """Write down a call of the history."""
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
        """Let clock cycles pass."""
        await self.settle(cycles)

    @action
    async def rest(self) -> None:
        """Let everything end and check all that it left behind, unless somebody stalls."""
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
        """Put messages into the driver queue and ring, as a driver does.

        Parameters
        ----------
        fifo
            Which.
        count
            Messages under one head and doorbell, 1 or more.
        order
            Seed of the order of the stores before the doorbell, as write combining may change it;
            0 for slots first and head last.
        cuts
            Pieces, less one, that each slot is stored in.
        ring
            Whether the doorbell follows.
        careful
            Whether to put in no more than fit.
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
        """Ring doorbells from number ``first`` on, existing or not, all in one burst each time."""
        for _ in range(times):
            offset = AMP_PCI.notify(first)
            self.store_nowait(AMP_PCI.register_bar, offset, bytes(AMP_PCI.notify_stride * count))
        return "doorbell_without_message" if times == 1 else "doorbell_storm"

    @action
    async def scribble_index(
        self, *, fifo: int, queue: str, word: str, value: int, first: int = 0, size: int = 4
    ) -> str | None:
        """Set bytes of an index word to anything.

        Parameters
        ----------
        fifo, queue, word
            Which: ``driver`` or ``device``, ``head`` or ``tail``.
        value
            32 bits, of which ``size`` bytes from byte ``first`` on are stored.
        first, size
            Bytes within the word.
        """
        base = self.driver(fifo, 0) if queue == "driver" else self.device(fifo, 0)
        offset = base + (QUEUE.head_offset if word == "head" else QUEUE.tail_offset)
        data = value.to_bytes(4, "little")[first : first + size]
        self.store_nowait(AMP_PCI.fifo_bar, offset + first, data)
        return f"{queue}_{word}_scribbled"

    @action
    async def scribble(self, *, fifo: int, offset: int, size: int, seed: int) -> str | None:
        """Store bytes of any kind anywhere in a FIFO's window, as far as the BAR goes."""
        offset += self.layout.fifo_stride * fifo
        size = min(size, self.sizes[AMP_PCI.fifo_bar] - offset)
        data = random.Random(seed).randbytes(size)
        self.store_nowait(AMP_PCI.fifo_bar, offset, data)
        return "memory_scribbled"

    @action
    async def reload_driver(self, *, fifo: int, size: int = 64) -> str | None:
        """Zero both queues of a FIFO in stores of ``size`` bytes, as a driver does when loaded."""
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
        """Send a request that is not served, one of :data:`~testbench.hostile.malformed.KINDS`."""
        sent = await send_malformed(self, kind, fifo, self._next_message())
        return kind if sent else None

    @action
    async def mask(self, *, vector: int, masked: bool, rest: bool = False) -> str | None:
        """Set or clear the mask bit of a vector.

        From :meth:`rest` on it is certain that nothing may come: with ``rest``, at once.
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
        """Let the host take no TLP of one stream, or again."""
        sinks = list(self.host.sinks.values())
        sink = sinks[which % len(sinks)]
        if stalled:
            sink.pause()
            return "host_stalled"
        sink.resume()
        return None

    @action
    async def stall_device(self, *, stalled: bool) -> str | None:
        """Let the device side take no message, or again."""
        if stalled:
            self.sink.pause()
            return "device_stalled"
        self.sink.resume()
        return None

    @action
    async def pace(self, *, seed: int, longest: int) -> str | None:
        """Random pauses on all streams of host and device side; ``longest`` 0 for none."""
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
        """Have the device side send messages of 8 to 64 bytes to an existing FIFO."""
        for _ in range(count):
            self.offer(fifo, self._next_message(size))

    @action
    async def answer_with_data(self, *, fifo: int, dwords: int) -> None:
        """Have the device side write to host memory and then, not waiting, send a message."""
        if not self.writing:
            message = self._next_message()
            data = random.Random(self._message).randbytes(4 * dwords)
            self.writing = True
            cocotb.start_soon(self.write_and_offer(fifo, message, data))

    @action
    async def bad_packet(self, *, fifo: int, size: int) -> str | None:
        """Have the device side send a packet of any size, 1 byte or more, to any FIFO."""
        self.offer(fifo, (self._next_message() * (size // QUEUE.slot_size + 1))[:size])
        if fifo >= self.num_fifos:
            return "packet_for_no_fifo"
        return "packet_too_short" if size < QUEUE.slot_size else "packet_too_long"

    @action
    async def stop_packet(self, *, cycles: int) -> str | None:
        """Have the device side pause before every beat, in the middle of packets too."""
        cycles = min(cycles, LONGEST_PAUSE)
        self.pause = max(self.pause, cycles)
        self.source.set_idle(pacing.every([cycles]) if cycles else None)
        return "packet_stopped" if cycles else None

    @action
    async def consume(self, *, fifo: int) -> None:
        """Have the host free all of a device queue that it may have seen."""
        head = index_of(min(self.oracle.device[fifo].states).head)
        offset = self.device(fifo, QUEUE.tail_offset)
        self.store_nowait(AMP_PCI.fifo_bar, offset, head.to_bytes(4, "little"))

    @action
    async def reset_function(self) -> str | None:
        """Function-level reset, in the middle of everything.

        The host waits for the completion and enables the function again. A hard block passes on
        what came before the request, then just does it.
        """
        # The first has the completions, behind which requests may wait.
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
        """``rst``, in the middle of everything, for 2 cycles or more; the host enables again."""
        await self.restart(cycles=cycles)
        return "hot_reset"
