# SPDX-License-Identifier: BSD-2-Clause
"""What the design under test was built with, as the runner says in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hdl.block_options import BlockOptions
from models.layout import SharedLayout, layout_of
from models.shell import PciShell, shell_of


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The build.

    Parameters
    ----------
    top
        ``core`` or ``endpoint``; from ``TOP``.
    num_fifos
        FIFOs of the design; from ``NUM_FIFOS``.
    data_width
        Bits of a beat; from ``DATA_WIDTH``.
    completion_timeout
        Cycles until a read of the design fails; from ``COMPLETION_TIMEOUT``.
    dma
        Whether there is a DMA window; from ``DMA_WINDOW``.
    block
        What the design's hard block needs or offers; its options from ``BLOCK_OPTIONS``.
    shell, layout
        Its PCI shell and the layout of its shared area; by name from ``PCI_SHELL`` and
        ``SHARED_LAYOUT``.
    """

    top: str
    num_fifos: int
    data_width: int
    completion_timeout: int
    dma: bool
    block: BlockOptions
    shell: PciShell
    layout: SharedLayout


def parameters() -> Parameters:
    """The parameters of the design under test.

    Raises
    ------
    KeyError
        A variable is missing: the test was not started by ``sim``.
    """
    return Parameters(
        top=os.environ["TOP"],
        num_fifos=int(os.environ["NUM_FIFOS"]),
        data_width=int(os.environ["DATA_WIDTH"]),
        completion_timeout=int(os.environ["COMPLETION_TIMEOUT"]),
        dma=os.environ["DMA_WINDOW"] == "1",
        block=BlockOptions.from_options(os.environ["BLOCK_OPTIONS"].split()),
        shell=shell_of(os.environ["PCI_SHELL"]),
        layout=layout_of(os.environ["SHARED_LAYOUT"]),
    )
