# SPDX-License-Identifier: BSD-2-Clause
"""Event-driven valid/ready streams: source, sink and passive watcher.

A beat is accepted on a rising clock edge with valid and ready asserted. Once asserted, valid stays
asserted and the payload stays stable until then (the generic TLP interface of verilog-pcie, and
AMBA AXI4-Stream section 2.2.1). :mod:`testbench.stream.framing` defines the payload, so TLP bundles
and AXI4-Stream share all of this module.

An idle stream wakes no task on clock edges. All signals are sampled and driven at the rising edge:
cocotb reads their values from before the edge, and the design samples driven values at the next
one, as with registers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import cocotb
from cocotb.triggers import Event, First

from . import pacing
from .framing import Beat, PacketT, Stream


class StreamSource(Stream[PacketT]):
    """Drives packets into the design.

    Parameters
    ----------
    dut
        The design's top.
    prefix
        Name of the bundle: the signals are ``<prefix>_<signal>``.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``. A reset that interrupts
        a packet drops it and all queued ones; packets queued during the reset are sent after it.
    idle
        Cycles to stay idle before each beat (:mod:`testbench.stream.pacing`).

    Attributes
    ----------
    on_accept
        Functions to call with each packet when its last beat is accepted.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        *,
        clk: Any = None,
        reset: Any = None,
        idle: Iterable[int] | None = None,
    ) -> None:
        super().__init__(dut, prefix, clk=clk, reset=reset)
        self.on_accept: list[Callable[[PacketT], None]] = []
        self._queue: deque[tuple[PacketT, Event | None]] = deque()
        self._wake = Event()
        self._drained = Event()
        self._drained.set()
        self._driven: Beat = {}
        self.set_idle(idle)
        self._drive({self.framing.valid: 0, **dict.fromkeys(self.fields, 0)})
        self._task = cocotb.start_soon(self._run())

    def set_idle(self, idle: Iterable[int] | None) -> None:
        """Replace the idle generator; ``None`` is full throughput."""
        self._idle = iter(pacing.never() if idle is None else idle)

    def send_nowait(self, packet: PacketT) -> None:
        """Queue ``packet``."""
        self._queue.append((packet, None))
        self._drained.clear()
        self._wake.set()

    async def send(self, packet: PacketT) -> None:
        """Queue ``packet``; return when its last beat is accepted, or a reset has dropped it."""
        done = Event()
        self._queue.append((packet, done))
        self._drained.clear()
        self._wake.set()
        await done.wait()

    async def drained(self) -> None:
        """Wait until all queued packets have been accepted."""
        await self._drained.wait()

    @property
    def pending(self) -> int:
        """Packets queued, including one in transfer."""
        return len(self._queue)

    def _drive(self, values: Beat) -> None:
        # Write changed values only: a write costs more than a comparison.
        for name, value in values.items():
            if self._driven.get(name) != value:
                self._driven[name] = value
                getattr(self.bus, name).value = value

    async def _run(self) -> None:
        valid = self.framing.valid
        edge = self.clk.rising_edge
        while True:
            if not self._queue:
                self._drive({valid: 0})
                self._drained.set()
                self._wake.clear()
                await self._wake.wait()
                await edge
            if self.in_reset:
                await self._reset_over()
                await edge
            packet, done = self._queue[0]
            if not await self._transfer(packet):
                self._drive({valid: 0})
                dropped = list(self._queue)
                self._queue.clear()
                for _, waiter in dropped:
                    if waiter is not None:
                        waiter.set()
                await self._reset_over()
                continue
            self._queue.popleft()
            for listener in self.on_accept:
                listener(packet)
            if done is not None:
                done.set()

    async def _transfer(self, packet: PacketT) -> bool:
        """Transfer ``packet``; return whether it was accepted rather than interrupted by reset."""
        valid = self.framing.valid
        edge = self.clk.rising_edge
        for beat in self.framing.beats(packet):
            pause = next(self._idle, 0)
            if pause:
                self._drive({valid: 0})
                for _ in range(pause):
                    await edge
                    if self.in_reset:
                        return False
            self._drive({name: value for name, value in beat.items() if name in self.fields})
            self._drive({valid: 1})
            await edge
            while not self._high(self.ready):
                if self.in_reset:
                    return False
                # `ready` was low at this edge, so its rising edge is still ahead.
                if self.reset is None:
                    await self.ready.rising_edge
                else:
                    await First(self.ready.rising_edge, self.reset.rising_edge)
                await edge
            if self.in_reset:
                return False
        return True


class StreamSink(Stream[PacketT]):
    """Receives packets from the design.

    Parameters
    ----------
    dut, prefix, clk, reset
        As :class:`StreamSource`. A reset drops an incomplete packet.
    stall
        Cycles to stall each beat, with valid asserted and ready not
        (:mod:`testbench.stream.pacing`).
    max_queued
        Packets queued for :meth:`recv` at which ready stays low; ``None`` for no limit.

    Attributes
    ----------
    on_packet
        Function to call with each packet when its last beat is accepted; ``None`` to queue packets
        for :meth:`recv`.
    received
        Packets received so far.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        *,
        clk: Any = None,
        reset: Any = None,
        stall: Iterable[int] | None = None,
        max_queued: int | None = None,
        on_packet: Callable[[PacketT], None] | None = None,
    ) -> None:
        super().__init__(dut, prefix, clk=clk, reset=reset)
        self.on_packet = on_packet
        self.max_queued = max_queued
        self.received = 0
        self._packets: deque[PacketT] = deque()
        self._arrived = Event()
        self._unblocked = Event()
        self._paused = False
        self._stall_cycles = 0
        self._assembler = self.framing.assembler(self.name)
        self.set_stall(stall)
        self._set_ready()
        self._task = cocotb.start_soon(self._run())

    def set_stall(self, stall: Iterable[int] | None) -> None:
        """Replace the back-pressure generator; ``None`` is full throughput."""
        self._stall = iter(pacing.never() if stall is None else stall)

    def pause(self) -> None:
        """Deassert ready until :meth:`resume`, with effect from the next clock edge on."""
        self._paused = True
        self.ready.value = 0

    def resume(self) -> None:
        """End :meth:`pause`."""
        self._paused = False
        self._release()

    @property
    def paused(self) -> bool:
        """Whether :meth:`pause` is in effect."""
        return self._paused

    async def recv(self) -> PacketT:
        """Wait for the next packet and return it."""
        while not self._packets:
            self._arrived.clear()
            await self._arrived.wait()
        return self.recv_nowait()

    def recv_nowait(self) -> PacketT:
        """Return the next packet.

        Raises
        ------
        IndexError
            The queue is empty.
        """
        packet = self._packets.popleft()
        self._release()
        return packet

    @property
    def pending(self) -> int:
        """Packets queued for :meth:`recv`."""
        return len(self._packets)

    @property
    def _blocked(self) -> bool:
        full = self.max_queued is not None and len(self._packets) >= self.max_queued
        return self._paused or full

    def _release(self) -> None:
        # Callable at any time, so only the task drives `ready`, at a clock edge.
        if not self._blocked:
            self._unblocked.set()

    def _set_ready(self) -> None:
        self._stall_cycles = next(self._stall, 0)
        self.ready.value = int(self._stall_cycles == 0 and not self._blocked)

    async def _run(self) -> None:
        edge = self.clk.rising_edge
        while True:
            await edge
            if self.in_reset:
                self._assembler.reset()
                await self._reset_over()
            elif not self._high(self.valid):
                await self._valid_or_reset()
            elif self._high(self.ready):
                packet = self._assembler.feed(self._capture())
                if packet is not None:
                    self._deliver(packet)
                self._set_ready()
            elif self._stall_cycles > 1:
                self._stall_cycles -= 1
            elif self._blocked:
                self._unblocked.clear()
                await self._unblocked.wait()
            else:
                self._stall_cycles = 0
                self.ready.value = 1

    async def _valid_or_reset(self) -> None:
        if self._assembler.partial and self.reset is not None:
            await First(self.valid.rising_edge, self.reset.rising_edge)
        else:
            await self.valid.rising_edge

    def _deliver(self, packet: PacketT) -> None:
        self.received += 1
        if self.on_packet is not None:
            self.on_packet(packet)
            return
        self._packets.append(packet)
        self._arrived.set()


class StreamWatcher(Stream[PacketT]):
    """Watches a stream passively, and fails the test when the stream violates its protocol.

    It checks that valid and the payload are stable until ready, that enabled bits of a valid beat
    are defined, and the framing of the beats. A violation raises in the watcher's own task, which
    ends the test at once.

    Parameters
    ----------
    dut, prefix, clk, reset
        As :class:`StreamSource`. Checks do not extend across a reset.
    on_packet
        Called with each packet when its last beat is accepted.

    Attributes
    ----------
    beats, packets
        Number of accepted beats, and of complete packets.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        *,
        clk: Any = None,
        reset: Any = None,
        on_packet: Callable[[PacketT], None] | None = None,
    ) -> None:
        super().__init__(dut, prefix, clk=clk, reset=reset)
        self.on_packet = on_packet
        self.beats = 0
        self.packets = 0
        self._assembler = self.framing.assembler(self.name)
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        edge = self.clk.rising_edge
        waiting: Beat | None = None
        while True:
            await edge
            if self.in_reset:
                self._assembler.reset()
                waiting = None
                await self._reset_over()
                continue
            if not self._high(self.valid):
                if waiting is not None:
                    raise self._error("valid was deasserted before ready")
                if self._assembler.partial and self.reset is not None:
                    await First(self.valid.rising_edge, self.reset.rising_edge)
                else:
                    await self.valid.rising_edge
                continue
            beat = self._capture()
            if waiting is not None and beat != waiting:
                raise self._error(self._difference(waiting, beat))
            if self._high(self.ready):
                waiting = None
                self.beats += 1
                packet = self._assembler.feed(beat)
                if packet is not None:
                    self.packets += 1
                    if self.on_packet is not None:
                        self.on_packet(packet)
            elif self.ready.value == "0":
                waiting = beat
            else:
                raise self._error("ready is undefined while valid is asserted")

    def _difference(self, before: Beat, after: Beat) -> str:
        changes = ", ".join(
            f"{name} from {before[name]:#x} to {after[name]:#x}"
            for name in before
            if before[name] != after[name]
        )
        return f"payload changed before ready: {changes}"
