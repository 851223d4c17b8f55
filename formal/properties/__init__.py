# SPDX-License-Identifier: BSD-2-Clause
"""All proofs, by property name."""

from __future__ import annotations

from ..proof import Proof
from . import (
    avalon,
    completions,
    configuration,
    consumer,
    doorbells,
    fifo_ram,
    hard_blocks,
    index,
    interrupts,
    payload,
    producer,
    requests,
    settings,
    shim_streams,
    streams,
    tags,
)

__all__ = ["PROOFS"]

GROUPS = (
    index,
    consumer,
    doorbells,
    producer,
    fifo_ram,
    interrupts,
    completions,
    payload,
    configuration,
    settings,
    requests,
    tags,
    streams,
    shim_streams,
    hard_blocks,
    avalon,
)

PROOFS: dict[str, Proof] = {proof.property: proof for group in GROUPS for proof in group.PROOFS}
"""In the order of reports and tables."""

if len(PROOFS) != sum(len(group.PROOFS) for group in GROUPS):
    raise ValueError("two proofs have the same name")
