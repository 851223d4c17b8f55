# SPDX-License-Identifier: BSD-2-Clause
"""Intel's hard blocks: cocotbext-pcie's models, and the parts that they lack."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.pcie.intel.ptile import PTilePcieDevice, PTileRxBus, PTileTxBus
from cocotbext.pcie.intel.s10 import S10PcieDevice, S10RxBus, S10TxBus

from ..timing import CLOCK_PERIOD_NS
from .block import MAX_PAYLOAD_SIZE, HardBlock

CONFIG_LATENCY = 40
"""Cycles for a block to output all of configuration space and for the design to register it."""
SENDER_LATENCY = 3
"""Cycles from the block's ready to the beat that it allows."""


async def watch_for_gaps(dut: Any, *, clk: Any) -> None:
    """Require that packets from the design have no gaps while the block is ready."""
    ready = deque([False] * SENDER_LATENCY)
    in_packet = False
    while True:
        await clk.rising_edge
        ready.append(dut.tx_st_ready.value == "1")
        if dut.tx_st_valid.value.is_resolvable and int(dut.tx_st_valid.value):
            in_packet = not int(dut.tx_st_eop.value)
        else:
            assert not (in_packet and ready[0]), "gap within a packet while the block is ready"
        ready.popleft()


class IntelBlock(HardBlock):
    """Base of Intel's blocks.

    One pin requests a function-level reset and another acknowledges it; the models lack both.
    """

    model: Any
    options: Mapping[str, Any] = MappingProxyType({})
    """Additional arguments of the model."""
    rx_bus: Any
    tx_bus: Any
    flr_pins: ClassVar[tuple[str, str]]
    max_payload_size: int
    config_latency = CONFIG_LATENCY
    design_counts_credits = True

    def _connect(self) -> None:
        dut = self.dut
        self.device = self._build(
            self.model,
            max_payload_size=self.max_payload_size,
            pld_clk_frequency=1e9 / CLOCK_PERIOD_NS,
            **self.options,
            rx_bus=self.rx_bus.from_prefix(dut, "rx_st"),
            tx_bus=self.tx_bus.from_prefix(dut, "tx_st"),
        )
        self.streams = {"to": self.device.rx_source, "from": self.device.tx_sink}
        getattr(dut, self.flr_pins[0]).value = 0
        cocotb.start_soon(watch_for_gaps(dut, clk=dut.clk))

    async def function_reset(self) -> None:
        """As :class:`~testbench.hard_block.block.HardBlock`."""
        request, acknowledge = (getattr(self.dut, name) for name in self.flr_pins)
        request.value = 1
        while not int(acknowledge.value) & 1:
            await acknowledge.value_change
        await self.dut.clk.rising_edge
        request.value = 0


class PTileBlock(IntelBlock):
    """Intel P-Tile."""

    aliases: ClassVar[Mapping[str, str]] = {"clk": "coreclkout_hip"}
    model = PTilePcieDevice
    rx_bus = PTileRxBus
    tx_bus = PTileTxBus
    flr_pins = ("flr_rcvd_pf", "flr_completed_pf")
    max_payload_size = 512
    ports: ClassVar[Mapping[int, int]] = {128: 2, 256: 1, 512: 0}
    """Number of the block's port by data width."""

    def _connect(self) -> None:
        self.options = {"port_num": self.ports[self.parameters.data_width]}
        super()._connect()

    async def reset(self) -> None:
        """As :class:`~testbench.hard_block.block.HardBlock`."""
        if self.dut.reset_status_n.value != "1":
            await RisingEdge(self.dut.reset_status_n)
        await self.dut.clk.rising_edge


class Stratix10Block(IntelBlock):
    """Intel H-Tile of Stratix 10."""

    aliases: ClassVar[Mapping[str, str]] = {"clk": "coreclkout_hip", "rst": "reset_status"}
    model = S10PcieDevice
    rx_bus = S10RxBus
    tx_bus = S10TxBus
    flr_pins = ("flr_pf_active", "flr_pf_done")
    max_payload_size = MAX_PAYLOAD_SIZE

    def _connect(self) -> None:
        super()._connect()
        # The model starts to report credits only for a design with ports for posted data credits.
        cocotb.start_soon(self.device._run_tx_fc_logic())
