# SPDX-License-Identifier: BSD-2-Clause
"""Gateware parameters of the proofs."""

from __future__ import annotations

from hdl.geometry import Geometry
from models.layout import SPSC_PAGES, SharedLayout
from models.shell import AMP_PCI

__all__ = ["geometry"]


def geometry(data_width: int, num_fifos: int, layout: SharedLayout = SPSC_PAGES) -> Geometry:
    """Geometry with the endpoint's default shell; by default with queues of 62 slots."""
    return Geometry(data_width=data_width, num_fifos=num_fifos, shell=AMP_PCI, layout=layout)
