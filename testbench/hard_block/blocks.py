# SPDX-License-Identifier: BSD-2-Clause
"""Every hard block that a top has the ports for."""

from __future__ import annotations

from .block import HardBlock, Series7Block, UltraScaleBlock, UltraScalePlusBlock
from .intel import PTileBlock, Stratix10Block

__all__ = ["BLOCKS"]

BLOCKS: dict[str, type[HardBlock]] = {
    "intel-ptile": PTileBlock,
    "intel-s10": Stratix10Block,
    "xilinx-7": Series7Block,
    "xilinx-us": UltraScaleBlock,
    "xilinx-usp": UltraScalePlusBlock,
}
"""By the top that has their ports."""
