# SPDX-License-Identifier: BSD-2-Clause
"""Parameters of the design under test, passed by the runner in environment variables."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hdl.block_options import BlockOptions
from models.layout import SharedLayout, layout_of
from models.shell import PciShell, shell_of


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Parameters of a build.

    Parameters
    ----------
    top
        ``core``, ``endpoint`` or the name of a hard block; from ``TOP``.
    num_fifos
        Number of FIFOs; from ``NUM_FIFOS``.
    data_width
        Bits of a beat; from ``DATA_WIDTH``.
    completion_timeout
        Clock cycles after which a read of the design fails; from ``COMPLETION_TIMEOUT``.
    dma
        Whether the design has a DMA window; from ``DMA_WINDOW``.
    block
        Options of the hard block interface; from ``BLOCK_OPTIONS``.
    shell, layout
        PCI shell and layout of the shared area; by name from ``PCI_SHELL`` and ``SHARED_LAYOUT``.
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
    """Read the parameters of the design under test.

    Raises
    ------
    KeyError
        A variable is missing: ``sim`` did not start this test.
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
