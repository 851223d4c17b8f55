# SPDX-License-Identifier: BSD-2-Clause
"""Vendor hard blocks between the root complex and a design with matching ports.

Each uses a model of the block, cocotbext-pcie's or :mod:`testbench.hard_block.series7`, with the
settings that the design's documentation requires. This module drives what the models lack, such as
a function-level reset.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import count
from typing import Any, ClassVar

import cocotb
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, FallingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamBus
from cocotbext.pcie.xilinx.us import UltraScalePcieDevice, UltraScalePlusPcieDevice

from ..parameters import Parameters
from ..timing import CLOCK_PERIOD_NS, RESET_CYCLES
from ..tlp import CplStatus, TlpKind, from_cocotbext, pcie_id
from ..tlp.monitor import TlpMonitor
from ..tlp.pins import settled
from .series7 import Series7Device

CONFIGURATION = (TlpKind.CFGRD0, TlpKind.CFGWR0)
MAX_PAYLOAD_SIZE = 1024
LINK_CYCLES = 50
"""Cycles in which a packet accepted by the block leaves for an idle link."""


class BlockSide:
    """A design with aliases for its ports, such as ``clk`` for the block's clock.

    Parameters
    ----------
    dut
        The design.
    aliases
        Names of ports by alias.
    """

    def __init__(self, dut: SimHandleBase, aliases: Mapping[str, str]) -> None:
        self._dut = dut
        self._aliases = aliases

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dut, self._aliases.get(name, name))

    def __dir__(self) -> list[str]:
        # cocotb-bus finds signals by `dir`.
        return [*dir(self._dut), *self._aliases]


class PacketCount:
    """Counts the packets of a sink of a model. A packet counts from its last beat on.

    The count does not use ``idle()`` of the sink: cocotbext-axi's may report a packet in progress
    from the end of one packet to the next.

    Parameters
    ----------
    sink
        A sink of cocotbext-axi or cocotbext-pcie.

    Attributes
    ----------
    received
        Packets received whole.
    gone
        Packets that the model has fetched from the sink.
    """

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.received = 0
        put = sink.queue.put_nowait

        def counted(packet: Any) -> None:
            self.received += 1
            put(packet)

        sink.queue.put_nowait = counted

    @property
    def gone(self) -> int:
        return self.received - self._sink.count()


class HardBlock:
    """The model of a hard block, connected to a design by pin names.

    Parameters
    ----------
    dut
        The design.
    parameters
        Parameters of its build.

    Attributes
    ----------
    aliases
        Names of the block's ports by alias (:class:`BlockSide`).
    dut
        The design, with ``clk`` and ``rst``.
    device
        The block, for the root complex's link.
    config_latency
        Cycles until the design has received a setting from the block.
    design_counts_credits
        Whether reads without credits of the host wait in the design rather than in the block.
    streams
        The block's streams, each with ``set_pause_generator``; names start with ``to`` or ``from``
        for the direction seen from the block to the design.
    """

    aliases: ClassVar[Mapping[str, str]]
    config_latency: ClassVar[int] = 0
    design_counts_credits: ClassVar[bool] = False
    streams: Mapping[str, Any]
    device: Any

    def __init__(self, dut: Any, parameters: Parameters) -> None:
        self.dut: Any = BlockSide(dut, self.aliases)
        self.parameters = parameters
        self._connect()
        shell, fifos = parameters.shell, parameters.num_fifos
        function = self.device.functions[0]
        function.vendor_id, function.device_id = shell.vendor_id, shell.device_id
        function.class_code, function.revision_id = shell.class_code, shell.revision
        for bar, size in shell.bar_sizes(fifos, parameters.layout).items():
            function.configure_bar(bar, size, False, bar == shell.fifo_bar)

    def _connect(self) -> None:
        raise NotImplementedError

    def _build(self, model: Any, **options: Any) -> Any:
        """Create a ``model`` of cocotbext-pcie; all use the same names for pins and settings."""
        dut, parameters = self.dut, self.parameters
        arguments = set(inspect.signature(model.__init__).parameters) - {"self", *options}
        shell = parameters.shell
        return model(
            pf0_msix_enable=True,
            pf0_msix_table_size=shell.num_vectors(parameters.num_fifos) - 1,
            pf0_msix_table_bir=shell.msix_bar,
            pf0_msix_table_offset=shell.msix_table_offset,
            pf0_msix_pba_bir=shell.msix_bar,
            pf0_msix_pba_offset=shell.msix_pba_offset,
            **options,
            **{name: getattr(dut, name) for name in arguments if hasattr(dut, name)},
        )

    async def reset(self) -> None:
        """Wait until the block deasserts reset."""
        if self.dut.rst.value != "0":
            await FallingEdge(self.dut.rst)
        await self.dut.clk.rising_edge

    async def function_reset(self) -> None:
        """Reset the function as the host does (FLR); return when the block reports completion."""
        raise NotImplementedError

    def set_bus_mastering(self, on: bool) -> None:
        """Set Bus Master Enable directly, without a configuration write."""
        self.device.functions[0].bus_master_enable = on

    def monitor(self, **options: Any) -> TlpMonitor:
        """Create a monitor of the packets on the link; ``options`` are its arguments.

        The block completes configuration requests; the monitor does not check these completions.
        The block completes a write without waiting for the design, so its values are in effect only
        when the design asserts ``status_config_settled`` and the packets that the block had
        accepted by then have left.
        """
        function = self.device.functions[0]
        monitor = TlpMonitor(
            # The model captures its bus number from reads too, so the monitor cannot learn it.
            device_id=pcie_id(1, 0),
            device_control=4 * function.pcie_cap.offset + 8,
            power_control=4 * function.pm_cap.offset + 4,
            now=lambda: float(get_sim_time("ns")),
            **options,
        )
        device, port = self.device, self.device.upstream_port
        receive, send = port.rx_handler, device.upstream_send

        numbers = count()
        sinks = [
            PacketCount(stream) for name, stream in self.streams.items() if name.startswith("from")
        ]

        async def complete_write(number: int) -> None:
            for _ in range(self.config_latency):
                await self.dut.clk.rising_edge
            await settled(self.dut, clk=self.dut.clk)
            # A packet in progress was made under the new settings: the design reports them settled
            # after the last beat of every earlier packet.
            received = [sink.received for sink in sinks]
            while any(sink.gone < target for sink, target in zip(sinks, received, strict=True)):
                await self.dut.clk.rising_edge
            await ClockCycles(self.dut.clk, LINK_CYCLES)
            monitor.settings.completed(number, CplStatus.SC)

        async def received(tlp: Any) -> None:
            packet = from_cocotbext(tlp)
            if packet.kind not in CONFIGURATION:
                monitor.host_sent(packet)
                await receive(tlp)
                return
            if packet.kind == TlpKind.CFGWR0:
                number = next(numbers)
                monitor.settings.written(packet, number)
            await receive(tlp)
            if packet.kind == TlpKind.CFGWR0:
                cocotb.start_soon(complete_write(number))

        async def sent(tlp: Any) -> None:
            monitor.design_sent(from_cocotbext(tlp))
            await send(tlp)

        port.rx_handler = received
        device.upstream_send = sent
        function.upstream_tx_handler = send
        return monitor


class UltraScaleBlock(HardBlock):
    """Integrated block of UltraScale."""

    aliases: ClassVar[Mapping[str, str]] = {"clk": "user_clk", "rst": "user_reset"}
    model: Any = UltraScalePcieDevice
    buses: ClassVar[Mapping[str, str]] = {
        "cq_bus": "m_axis_cq",
        "cc_bus": "s_axis_cc",
        "rq_bus": "s_axis_rq",
        "rc_bus": "m_axis_rc",
    }

    def _connect(self) -> None:
        dut = self.dut
        self.device = self._build(
            self.model,
            max_payload_size=MAX_PAYLOAD_SIZE,
            **{bus: AxiStreamBus.from_prefix(dut, prefix) for bus, prefix in self.buses.items()},
        )
        self.streams = {
            "to requests": self.device.cq_source,
            "to completions": self.device.rc_source,
            "from completions": self.device.cc_sink,
            "from requests": self.device.rq_sink,
        }
        for name in ("cfg_flr_in_process", "cfg_power_state_change_interrupt"):
            getattr(dut, name).value = 0

    async def function_reset(self) -> None:
        """As :class:`HardBlock`."""
        self.dut.cfg_flr_in_process.value = 1
        while self.dut.cfg_flr_done.value != "0001":
            await self.dut.cfg_flr_done.value_change
        await self.dut.clk.rising_edge
        self.dut.cfg_flr_in_process.value = 0


class UltraScalePlusBlock(UltraScaleBlock):
    """Integrated block of UltraScale+."""

    model = UltraScalePlusPcieDevice

    def _connect(self) -> None:
        super()._connect()
        # Value of PG213, completion space; the model's default is twice as large.
        self.device.rx_buf_cplh_fc_limit = 128


class Series7Block(HardBlock):
    """Integrated block of the 7 series."""

    aliases: ClassVar[Mapping[str, str]] = {"clk": "user_clk_out", "rst": "user_reset_out"}

    def _connect(self) -> None:
        dut, parameters = self.dut, self.parameters
        shell = parameters.shell
        # Start low, so that pins have their values before the first edge.
        self._clock = Clock(dut.clk, CLOCK_PERIOD_NS, "ns", impl="gpi").start(start_high=False)
        dut.rst.value = 1
        vectors = shell.num_vectors(parameters.num_fifos)
        bar = shell.msix_bar
        self.device = Series7Device(
            dut,
            clk=dut.clk,
            reset=dut.rst,
            msix=(vectors, bar, shell.msix_table_offset, bar, shell.msix_pba_offset),
        )
        self.streams = {"to": self.device.rx, "from": self.device.tx}

    async def reset(self) -> None:
        """As :class:`HardBlock`."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, RESET_CYCLES)
        self.dut.rst.value = 0
        await self.dut.clk.rising_edge

    def set_bus_mastering(self, on: bool) -> None:
        """As :class:`HardBlock`."""
        super().set_bus_mastering(on)
        self.device.drive_pins()

    async def function_reset(self) -> None:
        """As :class:`HardBlock`. The design reports no completion: the block assumes that the reset
        takes less than the 100 ms that the host waits."""
        self.dut.cfg_received_func_lvl_rst.value = 1
        await self.dut.clk.rising_edge
        self.dut.cfg_received_func_lvl_rst.value = 0
        await ClockCycles(self.dut.clk, 200)
