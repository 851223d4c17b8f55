# SPDX-License-Identifier: BSD-2-Clause
"""Completions of a memory read, split where PCI Express allows it.

Source: PCI Express Base 4.0 section 2.3.1.1. Every completion except the last ends at a multiple of
the read completion boundary, none is longer than Max_Payload_Size, and they are in address order.
"""

from __future__ import annotations

import random
from enum import StrEnum

from ..tlp import Tlp
from ..tlp.packets import completion, request_bytes

BOUNDARIES = (64, 128)
"""Read completion boundaries allowed for a root complex, in bytes."""


class Split(StrEnum):
    """Where a completer splits a read."""

    LARGEST = "largest"
    """Into as few completions as possible."""
    SMALLEST = "smallest"
    """At every boundary."""
    RANDOM = "random"
    """At pseudo-random boundaries."""


def completion_sizes(
    address: int, size: int, *, limit: int, boundary: int, split: Split, generator: random.Random
) -> list[int]:
    """Sizes of the completions of a read of ``size`` bytes from ``address``.

    Parameters
    ----------
    address, size
        Bytes.
    limit
        Max_Payload_Size in bytes, a multiple of ``boundary``.
    boundary
        Read completion boundary in bytes.
    split
        Which of the legal boundaries to split at.
    generator
        Random numbers for :attr:`Split.RANDOM`.
    """
    sizes = []
    end = address + size
    while address < end:
        stops = [*range((address // boundary + 1) * boundary, end, boundary), end]
        reachable = [stop for stop in stops if stop - address <= limit]
        if split == Split.LARGEST:
            stop = reachable[-1]
        elif split == Split.SMALLEST:
            stop = reachable[0]
        else:
            stop = generator.choice(reachable)
        sizes.append(stop - address)
        address = stop
    return sizes


def read_answers(
    request: Tlp,
    data: bytes,
    *,
    completer_id: int,
    max_payload_size: int,
    boundary: int,
    split: Split,
    generator: random.Random,
) -> list[Tlp]:
    """The correct completions of the memory read ``request``, in address order.

    Parameters
    ----------
    request
        The read.
    data
        The dwords from its dword address on.
    completer_id
        16 bits.
    max_payload_size, boundary, split, generator
        As :func:`completion_sizes`.
    """
    first, remaining = request_bytes(request)
    answers = []
    start = 0
    for size in completion_sizes(
        request.address,
        len(data),
        limit=max_payload_size,
        boundary=boundary,
        split=split,
        generator=generator,
    ):
        payload = data[start : start + size]
        answers.append(
            completion(
                request,
                completer_id,
                payload,
                byte_count=remaining,
                lower_address=first & 0x7F,
            )
        )
        start += size
        remaining -= request.address + start - first
        first = request.address + start
    return answers
