# SPDX-License-Identifier: BSD-2-Clause
"""A hard block that tells when each write has left it, some cycles after it took the write.

Until then the write is not in host memory: what a block holds, others may pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, Event, RisingEdge

from ..stream.tlp import TlpPacket, TlpSink

PULSE = "wr_req_tx_seq_num_valid"
WRITES = "tx_wr_req_tlp"
USUAL_DELAY = 12
"""Cycles."""


class Confirmer:
    """Holds the writes of a design, passes them on in order, and pulses :data:`PULSE` for each, as
    many at once as it has bits.

    Parameters
    ----------
    dut
        The design's top.
    sink
        Where its writes arrive.
    clk, reset
        Handles.
    delays
        Cycles from one confirmation, or from a write behind which none waits, to the next.
    """

    def __init__(
        self, dut: Any, sink: TlpSink, *, clk: Any, reset: Any, delays: Iterable[int] | None
    ) -> None:
        if sink.on_packet is None:
            raise ValueError(f"nothing takes what arrives on {WRITES}")
        self._pulse = getattr(dut, PULSE)
        self._pulse.value = 0
        self._clk = clk
        self._reset = reset
        self._deliver = sink.on_packet
        self.set_delays(repeat(USUAL_DELAY) if delays is None else delays)
        self._held: deque[TlpPacket] = deque()
        self._came = Event()
        sink.on_packet = self._take
        cocotb.start_soon(self._run())
        cocotb.start_soon(self._drop())

    @classmethod
    def attach(
        cls,
        dut: Any,
        sinks: Mapping[str, TlpSink],
        *,
        clk: Any = None,
        reset: Any = None,
        delays: Iterable[int] | None = None,
    ) -> Confirmer | None:
        """One for a design that waits for confirmations, ``None`` for one that does not."""
        if not hasattr(dut, PULSE):
            return None
        clk = dut.clk if clk is None else clk
        reset = dut.rst if reset is None else reset
        return cls(dut, sinks[WRITES], clk=clk, reset=reset, delays=delays)

    def set_delays(self, delays: Iterable[int]) -> None:
        """Replace the delays."""
        self._delays: Iterator[int] = iter(delays)

    @property
    def held(self) -> int:
        """Writes that have not left."""
        return len(self._held)

    def _take(self, packet: TlpPacket) -> None:
        self._held.append(packet)
        self._came.set()

    async def _drop(self) -> None:
        """What is held when the link goes down is lost."""
        while True:
            await RisingEdge(self._reset)
            self._held.clear()

    async def _run(self) -> None:
        while True:
            if not self._held:
                self._came.clear()
                await self._came.wait()
            await ClockCycles(self._clk, max(next(self._delays), 1))
            leaving = min(len(self._pulse), len(self._held))
            for _ in range(leaving):
                self._deliver(self._held.popleft())
            self._pulse.value = (1 << leaving) - 1
            await self._clk.rising_edge
            self._pulse.value = 0
