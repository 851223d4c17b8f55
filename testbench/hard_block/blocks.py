# SPDX-License-Identifier: BSD-2-Clause
"""Hard blocks by top."""

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
"""Hard blocks by the name of the top with their ports."""
