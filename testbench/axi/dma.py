# SPDX-License-Identifier: BSD-2-Clause
"""Devices' access to host memory through the design's AXI4 window, with cocotbext-axi's manager.

Source: AMBA AXI4 (ARM IHI 0022). The library samples its signals from the first cycle on, when they
are undefined in Icarus, so :class:`AxiDma` creates the manager at the first access and drives the
design's inputs to zero until then. Without an access in flight, no task wakes on clock edges.

:mod:`testbench.axi.channels` sends transfers of any content. Both drive the same ports, so a test
uses one or the other.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any

import cocotb
from cocotb.types import Logic
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

from models.dma import DmaError

from ..stream import pacing
from .accesses import DmaStatistics, check_access
from .channels import PREFIX, drive_idle

CHANNELS = ("aw", "w", "b", "ar", "r")
LOW, HIGH = Logic("0"), Logic("1")


def random_pauses(
    seed: int, probability: float = 0.3, longest: int = 5
) -> dict[str, Iterator[int]]:
    """Pseudo-random pauses of all five channels, as :func:`testbench.stream.pacing.randomly`."""
    return {
        channel: pacing.randomly(seed + number, probability, longest)
        for number, channel in enumerate(CHANNELS)
    }


class AxiDma:
    """Implements :class:`models.dma.Dma` over the design's AXI4 subordinate.

    Calls may be concurrent. Cancelling a task does not cancel its access: a write may still take
    effect.

    Parameters
    ----------
    dut
        The design's top.
    prefix
        Prefix of the AXI4 signals.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``. A reset fails the
        accesses in flight.
    burst_beats
        Beats of the longest burst, 1 to 256.
    beat_bytes
        Bytes of a beat, a power of two up to the data width; ``None`` for the data width.
    pauses
        For a channel (``aw``, ``w``, ``b``, ``ar``, ``r``), numbers of cycles to pause after each
        cycle without a pause, such as :func:`random_pauses`. Channels pause only while an access is
        in flight.

    Attributes
    ----------
    statistics
        Statistics of all accesses so far.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str = PREFIX,
        *,
        clk: Any = None,
        reset: Any = None,
        burst_beats: int = 256,
        beat_bytes: int | None = None,
        pauses: Mapping[str, Iterable[int]] | None = None,
    ) -> None:
        lanes = len(getattr(dut, f"{prefix}_wdata")) // 8
        beat_bytes = lanes if beat_bytes is None else beat_bytes
        if not 1 <= burst_beats <= 256:
            raise ValueError(f"burst_beats is {burst_beats}: must be 1 to 256")
        if not 1 <= beat_bytes <= lanes or beat_bytes & beat_bytes - 1:
            raise ValueError(f"beat_bytes is {beat_bytes}: must be a power of two up to {lanes}")
        for channel in pauses or ():
            if channel not in CHANNELS:
                raise ValueError(f"channel is {channel}: must be one of {', '.join(CHANNELS)}")
        self._dut = dut
        self._prefix = prefix
        self._clk = dut.clk if clk is None else clk
        self._reset = getattr(dut, "rst", None) if reset is None else reset
        self._burst_beats = burst_beats
        self._size = beat_bytes.bit_length() - 1
        self._pauses = {name: _cycles(cycles) for name, cycles in (pauses or {}).items()}
        self.statistics = DmaStatistics()
        self._manager: Any = None
        self._streams: dict[str, Any] = {}
        self._under_way = 0
        drive_idle(dut, prefix)

    @property
    def under_way(self) -> int:
        """Number of accesses in flight."""
        return self._under_way

    async def read(self, address: int, size: int) -> bytes:
        """Read ``size`` bytes, 1 or more, from the 64-bit bus address ``address``.

        Raises
        ------
        DmaError
            The response was not OKAY; the text has address, size and response.
        """
        check_access("read", address, size)
        began = get_sim_time("ns")
        manager = await self._open()
        response = await self._access(manager.read(address, size, size=self._size))
        _require_okay(response, "read", address, size)
        self.statistics.reads += 1
        self.statistics.bytes_read += size
        self.statistics.read_ns += get_sim_time("ns") - began
        return bytes(response.data)

    async def write(self, address: int, data: bytes) -> None:
        """Write ``data``, 1 byte or more, at the 64-bit bus address ``address``.

        Raises
        ------
        DmaError
            The response was not OKAY; the text has address, size and response.
        """
        check_access("write", address, len(data))
        began = get_sim_time("ns")
        manager = await self._open()
        response = await self._access(manager.write(address, bytes(data), size=self._size))
        _require_okay(response, "write", address, len(data))
        self.statistics.writes += 1
        self.statistics.bytes_written += len(data)
        self.statistics.write_ns += get_sim_time("ns") - began

    async def _access(self, access: Awaitable[Any]) -> Any:
        self._under_way += 1
        if self._under_way == 1:
            self._pause(True)
        try:
            return await access
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                self._pause(False)

    async def _open(self) -> Any:
        # An access started during reset would run at once: the library stops only on a reset edge.
        while self._reset is not None and self._reset.value != LOW:
            await self._reset.value_change
        if self._manager is None:
            # The library logs every access with its data, which costs more than the access.
            logger = logging.getLogger(f"cocotb.{self._dut._name}.{self._prefix}")
            logger.setLevel(logging.WARNING)
            bus = AxiBus.from_prefix(self._dut, self._prefix)
            self._manager = AxiMaster(bus, self._clk, self._reset, max_burst_len=self._burst_beats)
            write, read = self._manager.write_if, self._manager.read_if
            self._streams = {
                "aw": write.aw_channel,
                "w": write.w_channel,
                "b": write.b_channel,
                "ar": read.ar_channel,
                "r": read.r_channel,
            }
            cocotb.start_soon(self._count("aw", "write_bursts"))
            cocotb.start_soon(self._count("ar", "read_bursts"))
        return self._manager

    async def _count(self, channel: str, statistic: str) -> None:
        """Count the transfers of an address channel."""
        valid = getattr(self._dut, f"{self._prefix}_{channel}valid")
        ready = getattr(self._dut, f"{self._prefix}_{channel}ready")
        edge = self._clk.rising_edge
        while True:
            if valid.value != HIGH:
                await valid.value_change
                continue
            await edge
            if valid.value == HIGH and ready.value == HIGH:
                bursts = getattr(self.statistics, statistic) + 1
                setattr(self.statistics, statistic, bursts)

    def _pause(self, on: bool) -> None:
        # The library evaluates a pause generator on every clock edge: remove it when idle.
        for name, cycles in self._pauses.items():
            self._streams[name].set_pause_generator(cycles if on else None)
            if not on:
                self._streams[name].pause = False


def _cycles(pauses: Iterable[int]) -> Iterator[bool]:
    for pause in pauses:
        yield from [True] * pause
        yield False


def _require_okay(response: Any, verb: str, address: int, size: int) -> None:
    # The library returns None for an access that a reset interrupted.
    if response is not None and response.resp == AxiResp.OKAY:
        return
    reason = "aborted by reset" if response is None else f"response is {response.resp.name}"
    raise DmaError(f"{verb} of {size} bytes at {address:#x}: {reason}")
