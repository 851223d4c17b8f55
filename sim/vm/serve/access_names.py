# SPDX-License-Identifier: BSD-2-Clause
"""Names of what a guest accesses: register, doorbell, slot, index word, MSI-X table entry.

Names and offsets come from :mod:`models.shell`, :mod:`models.layout` and
:mod:`models.config_space`, from which the gateware is generated.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from models.config_space import config_space
from models.layout import QueueLayout, SharedLayout
from models.shell import MSIX_CONTROL_OFFSET, PciShell

MAX_NAMES = 4
"""Places that are named for one access, which may span a whole BAR."""
WORD = 4
"""Bytes of a register or an index word."""
PENDING_BITS = 8
"""Bytes of a word of the pending bit array."""
CLASS_CODE = 0x08
"""Offset of the dword with two registers of unequal width: 24 bits and 8."""
MSIX_FIELDS = ((0, "address"), (4, "upper address"), (8, "data"), (MSIX_CONTROL_OFFSET, "control"))


@dataclass(frozen=True)
class NamedBytes:
    """Named bytes of a region.

    Parameters
    ----------
    start, size
        Offset in the region and number of bytes.
    name
        Name of the bytes.
    is_number
        The bytes are a little-endian number; an access shows its value.
    limit
        Modulus of an index; ``None`` for other bytes.
    """

    start: int
    size: int
    name: str
    is_number: bool = True
    limit: int | None = None


class AccessNames:
    """Names for accesses to the regions of an endpoint.

    Parameters
    ----------
    shell, layout, num_fifos
        PCI shell, layout and number of FIFOs of the endpoint.
    """

    def __init__(self, shell: PciShell, layout: SharedLayout, num_fifos: int) -> None:
        self._bars = {
            shell.register_bar: _sorted(_registers(shell, num_fifos)),
            shell.fifo_bar: _sorted(_fifos(layout, num_fifos)),
            shell.msix_bar: _sorted(_msix(shell, num_fifos)),
        }
        self._config = _sorted(_config(shell, layout, num_fifos))

    def bar(self, bar: int, offset: int, data: bytes) -> str:
        """Description of ``data`` at ``offset`` of a BAR, one line."""
        return _describe(self._bars.get(bar, []), offset, data)

    def config(self, offset: int, data: bytes) -> str:
        """Description of ``data`` at ``offset`` of configuration space, one line."""
        return _describe(self._config, offset, data)


def _registers(shell: PciShell, num_fifos: int) -> Iterator[NamedBytes]:
    yield NamedBytes(shell.version_offset, WORD, "VERSION")
    yield NamedBytes(shell.features_offset, WORD, "FEATURES")
    for fifo in range(num_fifos):
        yield NamedBytes(shell.notify(fifo), WORD, f"doorbell of FIFO {fifo}", is_number=False)


def _fifos(layout: SharedLayout, num_fifos: int) -> Iterator[NamedBytes]:
    for fifo in range(num_fifos):
        yield from _queue(layout.queue, layout.driver_queue_base(fifo), f"FIFO {fifo} driver queue")
        yield from _queue(layout.queue, layout.device_queue_base(fifo), f"FIFO {fifo} device queue")


def _queue(queue: QueueLayout, base: int, name: str) -> Iterator[NamedBytes]:
    for offset, index in ((queue.head_offset, "head"), (queue.tail_offset, "tail")):
        yield NamedBytes(base + offset, WORD, f"{name} {index}", limit=queue.capacity)
    for slot in range(queue.capacity):
        yield NamedBytes(
            base + queue.slot_offset(slot), queue.slot_size, f"{name} slot {slot}", is_number=False
        )


def _msix(shell: PciShell, num_fifos: int) -> Iterator[NamedBytes]:
    vectors = shell.num_vectors(num_fifos)
    for vector in range(vectors):
        for offset, name in MSIX_FIELDS:
            yield NamedBytes(shell.msix_entry(vector) + offset, WORD, f"vector {vector} {name}")
    for word in range(-(-vectors // 64)):
        yield NamedBytes(shell.msix_pba_offset + PENDING_BITS * word, PENDING_BITS, "pending bits")


def _config(shell: PciShell, layout: SharedLayout, num_fifos: int) -> Iterator[NamedBytes]:
    for offset, register in config_space(shell, num_fifos, layout).items():
        high, comma, low = register.name.partition(", ")
        if comma and offset != CLASS_CODE:
            yield NamedBytes(offset, WORD // 2, low)
            yield NamedBytes(offset + WORD // 2, WORD // 2, high)
        else:
            yield NamedBytes(offset, WORD, register.name)


def _sorted(places: Iterator[NamedBytes]) -> list[NamedBytes]:
    return sorted(places, key=_start)


def _start(place: NamedBytes) -> int:
    return place.start


def _describe(places: list[NamedBytes], offset: int, data: bytes) -> str:
    end = offset + len(data)
    names: list[str] = []
    first = max(0, bisect_right(places, offset, key=_start) - 1)
    for place in places[first:]:
        if place.start >= end:
            break
        if offset < place.start + place.size:
            if len(names) == MAX_NAMES:
                return ", ".join([*names, "…"])
            names.append(_describe_part(place, offset, data))
    return ", ".join(names) or "reserved"


def _describe_part(place: NamedBytes, offset: int, data: bytes) -> str:
    """Description of the part of ``place`` that ``data`` at ``offset`` covers."""
    start = max(offset, place.start)
    end = min(offset + len(data), place.start + place.size)
    data_part = data[start - offset : end - offset]
    first, last = start - place.start, end - place.start - 1
    name = place.name
    if len(data_part) != place.size:
        name += f" byte {first}" if first == last else f" bytes {first} to {last}"
    if not place.is_number:
        return name
    value = int.from_bytes(data_part, "little")
    if place.limit is None or len(data_part) != place.size:
        return f"{name} = {value:#x}"
    wrapped = f" ({value % place.limit} modulo {place.limit})" if value >= place.limit else ""
    return f"{name} = {value}{wrapped}"
