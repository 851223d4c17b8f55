# SPDX-License-Identifier: BSD-2-Clause
"""Completions of a memory read, cut where PCI Express allows it.

Source: PCI Express Base 4.0 section 2.3.1.1. Each completion but the last ends at a multiple of the
read-completion boundary, none is longer than Max_Payload_Size, and they come in address order.
"""

from __future__ import annotations

import random
from enum import StrEnum

from ..tlp import Tlp
from ..tlp.packets import completion, request_bytes

BOUNDARIES = (64, 128)
"""Read-completion boundaries that a root complex may have, in bytes."""


class Split(StrEnum):
    """Where a completer cuts."""

    LARGEST = "largest"
    """As few completions as there can be."""
    SMALLEST = "smallest"
    """At every boundary."""
    RANDOM = "random"
    """At boundaries that a seed decides."""


def cut(
    address: int, size: int, *, limit: int, boundary: int, split: Split, generator: random.Random
) -> list[int]:
    """Sizes of the pieces of ``size`` bytes from ``address``.

    Parameters
    ----------
    address, size
        Bytes.
    limit
        Max_Payload_Size in bytes, a multiple of ``boundary``.
    boundary
        Bytes.
    split
        Which of the legal places to take.
    generator
        Decides where ``split`` is random.
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
    """The right completions of the memory read ``request``, in the order they must have.

    Parameters
    ----------
    request
        What is answered.
    data
        The dwords from its dword address on.
    completer_id
        16 bits.
    max_payload_size, boundary, split, generator
        As :func:`cut`.
    """
    first, remaining = request_bytes(request)
    answers = []
    start = 0
    for size in cut(
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
