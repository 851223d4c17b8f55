# SPDX-License-Identifier: BSD-2-Clause
"""Simulation speed of the cocotb engine, over the thin host and the root complex."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb

from testbench.axi.dma import AxiDma
from testbench.bench import Bench
from testbench.device_port import StreamDevicePort
from testbench.system import GatewareSystem

from .measures import FOLDER
from .programs import Figures, block_devices, exchange_messages, move_data, transfer_blocks


def _write(name: str, figures: Figures) -> None:
    (Path(os.environ[FOLDER]) / f"{name}.json").write_text(json.dumps(figures))


async def _exchange(dut: Any, *, root_complex: bool) -> Figures:
    bench = Bench(dut, root_complex=root_complex)
    port = StreamDevicePort(dut)
    await bench.start()
    figures = await exchange_messages(bench, port)
    await bench.finish()
    return figures


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def thin(dut: Any) -> None:
    """Messages over the thin bus functional model."""
    _write("thin", await _exchange(dut, root_complex=False))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def root_complex(dut: Any) -> None:
    """Messages over cocotbext-pcie's root complex."""
    _write("root_complex", await _exchange(dut, root_complex=True))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def thin_dma(dut: Any) -> None:
    """DMA over the thin bus functional model."""
    bench: Any = Bench(dut)
    bench.dma = AxiDma(dut)
    # A test without messages, but their port drives its inputs.
    StreamDevicePort(dut)
    await bench.start()
    _write("thin_dma", await move_data(bench))
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def thin_blocks(dut: Any) -> None:
    """Block requests over the thin bus functional model."""
    system = GatewareSystem(dut, block_devices())
    await system.start()
    _write("thin_blocks", await transfer_blocks(system))
    await system.finish()
