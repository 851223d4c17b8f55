# SPDX-License-Identifier: BSD-2-Clause
"""Clock, reset, host and TLP monitor of a design under test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotb.utils import get_sim_time

from .axi.channels import drive_idle
from .hard_block.blocks import BLOCKS
from .host.bfm import CoreBfm, EndpointBfm
from .host.requester import HostError
from .host.root_complex import RootComplexHost
from .host.thin import TlpHost
from .parameters import Parameters, parameters
from .runtime import CocotbRuntime
from .timing import CLOCK_PERIOD_NS, RESET_CYCLES
from .tlp.monitor import CORE_TO_DESIGN, TlpMonitor, bundles_of

Pacing = Iterable[int] | None
"""See :mod:`testbench.stream.pacing`; ``None`` is full throughput."""


class Bench:
    """Clock, reset, host and TLP monitor of a design under test, for every top.

    Parameters
    ----------
    dut
        The design's top.
    root_complex
        Use cocotbext-pcie's root complex in place of the thin host. A hard block always has the
        root complex.
    host_idle, host_stall
        Idle cycles before the beats of TLPs to the design, and back-pressure on TLPs from it.
    **options
        Arguments of the host.

    Attributes
    ----------
    host
        Implements the ``HostFunction`` contract.
    monitor
        Checks every TLP; a violation fails the test at once.
    parameters
        The parameters of the build.
    """

    def __init__(
        self,
        dut: Any,
        *,
        root_complex: bool = False,
        host_idle: Pacing = None,
        host_stall: Pacing = None,
        **options: Any,
    ) -> None:
        self.parameters: Parameters = parameters()
        block = BLOCKS.get(self.parameters.top)
        self.block = None if block is None else block(dut, self.parameters)
        self.dut = dut = dut if self.block is None else self.block.dut
        self.runtime = CocotbRuntime()
        if self.block is None:
            self._clock = Clock(dut.clk, CLOCK_PERIOD_NS, "ns", impl="gpi").start()
            dut.rst.value = 1
        # Drive every input from time zero: undefined values spread through the design.
        for name in ("s_axis_msg_tvalid", "m_axis_msg_tready"):
            getattr(dut, name).value = 0
        if self.parameters.dma:
            drive_idle(dut)
        options = {"idle": host_idle, "stall": host_stall, **options}
        options["num_fifos"] = self.parameters.num_fifos
        timeout_ns = self.parameters.completion_timeout * CLOCK_PERIOD_NS
        self.host: Any
        if self.block is not None:
            self.host = RootComplexHost(dut, endpoint=self.block.device, **options)
            self.monitor = self.block.monitor(completion_timeout_ns=timeout_ns)
        elif self.parameters.top == "core":
            shell, layout = self.parameters.shell, self.parameters.layout
            self.host = CoreBfm(dut, shell=shell, layout=layout, **options)
            self.monitor = TlpMonitor.attach(
                dut,
                to_design=CORE_TO_DESIGN,
                from_design=bundles_of(dut),
                device_id=self.host.device_id,
                max_payload_size=self.host.max_payload_size,
                max_read_request_size=self.host.max_read_request_size,
                extended_tags=self.host.extended_tags,
                bus_master=False,
                follow_pins=True,
                always_four_dwords=self.parameters.block.force_64_bit_addresses,
                completion_timeout_ns=timeout_ns,
            )
        else:
            self.host = (
                RootComplexHost(dut, **options) if root_complex else EndpointBfm(dut, **options)
            )
            self.monitor = TlpMonitor.attach(dut, completion_timeout_ns=timeout_ns)

    @property
    def cycles(self) -> int:
        """Clock cycles since time zero."""
        return int(self.time_ns) // CLOCK_PERIOD_NS

    @property
    def time_ns(self) -> float:
        """Simulated time, in nanoseconds."""
        return float(get_sim_time("ns"))

    async def reset(self) -> None:
        """Hold ``rst`` for a few cycles."""
        if self.block is not None:
            await self.block.reset()
            return
        self.dut.rst.value = 1
        self._abandon_reads()
        # The sinks deliver packets of the last cycle before the reset only now.
        await self.dut.clk.rising_edge
        self._abandon_reads()
        await ClockCycles(self.dut.clk, RESET_CYCLES - 1)
        self.dut.rst.value = 0
        await self.dut.clk.rising_edge

    def _abandon_reads(self) -> None:
        if isinstance(self.host, TlpHost):
            self.host.memory.abandon()

    async def start(self, **options: Any) -> None:
        """Reset the design, then let the host enumerate and enable it.

        Parameters
        ----------
        **options
            Arguments of the host's ``start``.
        """
        await self.reset()
        await self.host.start(**options)

    async def settle(self, cycles: int = 50) -> None:
        """Let ``cycles`` clock cycles pass; the default is longer than any access takes."""
        await ClockCycles(self.dut.clk, cycles)

    async def finish(self, *, refused_writes: int = 0) -> None:
        """Require that every request has its completions.

        Parameters
        ----------
        refused_writes
            Expected number of memory writes of the design that the thin host refused.

        Raises
        ------
        HostError
            The host refused another number of writes.
        """
        await self.settle()
        self.monitor.finish()
        if isinstance(self.host, TlpHost):
            refused = self.host.memory.refused_writes
            if len(refused) != refused_writes:
                raise HostError(
                    f"{len(refused)} writes were refused, not {refused_writes}: {refused}"
                )
