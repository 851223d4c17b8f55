# SPDX-License-Identifier: BSD-2-Clause
"""The five channels of the design's AXI4 window, for tests that define each transfer.

Source: AMBA AXI4 (ARM IHI 0022). The sources and sinks are cocotbext-axi's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from cocotbext.axi import AxiBurstType, AxiBus, AxiResp
from cocotbext.axi.axi_channels import AxiARSource, AxiAWSource, AxiBSink, AxiRSink, AxiWSource

PREFIX = "s_axi_dma"
INPUTS = (
    *("awid", "awaddr", "awlen", "awsize", "awburst", "awvalid"),
    *("wdata", "wstrb", "wlast", "wvalid"),
    "bready",
    *("arid", "araddr", "arlen", "arsize", "arburst", "arvalid"),
    "rready",
)
"""Signals that the manager drives, without the prefix."""


def drive_idle(dut: Any, prefix: str = PREFIX) -> None:
    """Drive the inputs of the AXI window to zero: undefined values spread through the design."""
    for name in INPUTS:
        getattr(dut, f"{prefix}_{name}").value = 0


class BurstResponse(NamedTuple):
    """Response of a burst: one response for a write, one for each beat of a read with its data."""

    responses: list[AxiResp]
    beats: list[int]


class AxiChannels:
    """The five channels of the design's AXI4 subordinate, for transfers of any content.

    Strobes with holes, FIXED and WRAP bursts, narrow beats and bursts across 4 KiB are sent as
    given. Create it after reset; the library's sources leave payloads undefined until the first
    transfer.

    Parameters
    ----------
    dut, prefix, clk, reset
        As :class:`~testbench.axi.dma.AxiDma`.

    Attributes
    ----------
    aw, w, b, ar, r
        cocotbext-axi's sources and sinks, for transfers beyond :meth:`write` and :meth:`read`.
    lanes
        Bytes of a beat.
    """

    def __init__(
        self, dut: Any, prefix: str = PREFIX, *, clk: Any = None, reset: Any = None
    ) -> None:
        bus = AxiBus.from_prefix(dut, prefix)
        clock_and_reset = (
            dut.clk if clk is None else clk,
            getattr(dut, "rst", None) if reset is None else reset,
        )
        self.lanes = len(getattr(dut, f"{prefix}_wdata")) // 8
        self.aw = AxiAWSource(bus.write.aw, *clock_and_reset)
        self.w = AxiWSource(bus.write.w, *clock_and_reset)
        self.b = AxiBSink(bus.write.b, *clock_and_reset)
        self.ar = AxiARSource(bus.read.ar, *clock_and_reset)
        self.r = AxiRSink(bus.read.r, *clock_and_reset)

    async def write(
        self,
        address: int,
        beats: Iterable[tuple[int, int]],
        *,
        burst: int = AxiBurstType.INCR,
        size: int | None = None,
        transfer_id: int = 0,
        length: int | None = None,
    ) -> BurstResponse:
        """Send one write burst and wait for its response. Not for concurrent calls.

        Parameters
        ----------
        address
            As ``awaddr``.
        beats
            ``wdata`` and ``wstrb`` of each beat; ``wlast`` is set on the last.
        burst
            FIXED, INCR or WRAP.
        size
            As ``awsize``: the binary logarithm of a beat's bytes; ``None`` for the data width.
        transfer_id
            As ``awid``.
        length
            As ``awlen``, beats less one; ``None`` for the number of ``beats``.
        """
        transfers = list(beats)
        await self.aw.send(
            self.aw._transaction_obj(
                awid=transfer_id,
                awaddr=address,
                awlen=len(transfers) - 1 if length is None else length,
                awsize=self._size(size),
                awburst=burst,
            )
        )
        for number, (data, strobes) in enumerate(transfers, start=1):
            last = int(number == len(transfers))
            await self.w.send(self.w._transaction_obj(wdata=data, wstrb=strobes, wlast=last))
        response = await self.b.recv()
        _require_id(int(response.bid), transfer_id)
        return BurstResponse([AxiResp(int(response.bresp))], [])

    async def read(
        self,
        address: int,
        beats: int,
        *,
        burst: int = AxiBurstType.INCR,
        size: int | None = None,
        transfer_id: int = 0,
    ) -> BurstResponse:
        """Send one read burst and wait for its beats, until ``rlast``. Not for concurrent calls.

        Parameters
        ----------
        address, burst, size, transfer_id
            As :meth:`write`.
        beats
            Number of beats, 1 to 256.
        """
        await self.ar.send(
            self.ar._transaction_obj(
                arid=transfer_id,
                araddr=address,
                arlen=beats - 1,
                arsize=self._size(size),
                arburst=burst,
            )
        )
        response = BurstResponse([], [])
        while True:
            beat = await self.r.recv()
            _require_id(int(beat.rid), transfer_id)
            response.responses.append(AxiResp(int(beat.rresp)))
            response.beats.append(int(beat.rdata))
            if int(beat.rlast):
                return response

    def _size(self, size: int | None) -> int:
        return self.lanes.bit_length() - 1 if size is None else size


def _require_id(received: int, expected: int) -> None:
    if received != expected:
        raise AssertionError(f"id is {received}: must be {expected}")
