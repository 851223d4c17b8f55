# SPDX-License-Identifier: BSD-2-Clause
"""The builds that the proofs are of."""

from __future__ import annotations

from hdl.geometry import Geometry
from models.layout import SPSC_PAGES
from models.shell import AMP_PCI

__all__ = ["geometry"]


def geometry(data_width: int, num_fifos: int) -> Geometry:
    """Of the shell and the layout that the endpoint has by default: queues of 62 slots."""
    return Geometry(data_width=data_width, num_fifos=num_fifos, shell=AMP_PCI, layout=SPSC_PAGES)
