# SPDX-License-Identifier: BSD-2-Clause
"""A hard block that confirms each write some cycles after it has accepted the write.

Until its confirmation a write is not in host memory: other packets may pass it in the block.
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
"""Default delay of a confirmation in cycles."""


class Confirmer:
    """Delays the writes of a design and confirms each with a pulse on :data:`PULSE`.

    Writes are passed on in order, per cycle as many as :data:`PULSE` has bits.

    Parameters
    ----------
    dut
        The design's top.
    sink
        Sink of the design's writes.
    clk, reset
        Handles.
    delays
        Cycles until the next confirmation, from the previous one or from the arrival of a write at
        an empty queue.
    """

    def __init__(
        self, dut: Any, sink: TlpSink, *, clk: Any, reset: Any, delays: Iterable[int] | None
    ) -> None:
        if sink.on_packet is None:
            raise ValueError(f"sink of {WRITES} has no on_packet: must have one")
        self._pulse = getattr(dut, PULSE)
        self._pulse.value = 0
        self._clk = clk
        self._reset = reset
        self._deliver = sink.on_packet
        self.set_delays(repeat(USUAL_DELAY) if delays is None else delays)
        self._held: deque[TlpPacket] = deque()
        self._arrived = Event()
        sink.on_packet = self._hold
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
        """Create one if the design waits for confirmations; otherwise return ``None``."""
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
        """Number of writes not yet confirmed."""
        return len(self._held)

    def _hold(self, packet: TlpPacket) -> None:
        self._held.append(packet)
        self._arrived.set()

    async def _drop(self) -> None:
        """Drop the held writes on reset: the link is down."""
        while True:
            await RisingEdge(self._reset)
            self._held.clear()

    async def _run(self) -> None:
        while True:
            if not self._held:
                self._arrived.clear()
                await self._arrived.wait()
            await ClockCycles(self._clk, max(next(self._delays), 1))
            count = min(len(self._pulse), len(self._held))
            for _ in range(count):
                self._deliver(self._held.popleft())
            self._pulse.value = (1 << count) - 1
            await self._clk.rising_edge
            self._pulse.value = 0
