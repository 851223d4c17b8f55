# SPDX-License-Identifier: BSD-2-Clause
"""Constructors of packets: memory requests of any size, configuration requests, completions.

Byte enables, byte counts and lower addresses follow PCI Express Base 4.0 sections 2.2.5 and
2.3.1.1.
"""

from __future__ import annotations

from typing import Any

from .codec import LOCKED_READS, MEMORY_READS, CplStatus, Tlp, TlpKind


def byte_enables(address: int, size: int) -> tuple[int, int, int, int]:
    """Length and byte enables of a request for ``size`` bytes at ``address`` (section 2.2.5).

    Parameters
    ----------
    address, size
        Bytes. Size 0 is a zero-length request: one dword with no byte enabled.

    Returns
    -------
    tuple
        Dword address, length in dwords, first and last byte enables.
    """
    start = address & ~3
    if size == 0:
        return start, 1, 0, 0
    end = address + size
    length = (end - start + 3) // 4
    first = 0xF << (address & 3) & 0xF
    last = 0xF >> (-end & 3)
    if length == 1:
        return start, 1, first & last, 0
    return start, length, first, last


def enabled_bytes(request: Tlp) -> list[bool]:
    """Byte enables of all ``4 * length`` bytes of a memory request."""
    first, last = (
        [bool(mask >> lane & 1) for lane in range(4)]
        for mask in (request.first_be, request.last_be)
    )
    if request.length == 1:
        return first
    return first + [True] * (4 * (request.length - 2)) + last


def memory_read(address: int, size: int, **fields: Any) -> Tlp:
    """Read of ``size`` bytes, with a 4-dword header from 4 GiB up (section 2.2.4.1).

    ``fields`` override the computed ones, to make illegal packets too.
    """
    start, length, first, last = byte_enables(address, size)
    values = {"length": length, "address": start, "first_be": first, "last_be": last, **fields}
    return Tlp(values.pop("kind", TlpKind.MRD64 if start >> 32 else TlpKind.MRD32), **values)


def memory_write(address: int, data: bytes, **fields: Any) -> Tlp:
    """Write of ``data``, padded to whole dwords with disabled bytes.

    ``fields`` override the computed ones, to make illegal packets too.
    """
    start, length, first, last = byte_enables(address, len(data))
    payload = (bytes(address & 3) + data).ljust(4 * length, b"\0")[: 4 * length]
    values = {"length": length, "address": start, "first_be": first, "last_be": last, **fields}
    kind = values.pop("kind", TlpKind.MWR64 if start >> 32 else TlpKind.MWR32)
    return Tlp(kind, **{"payload": payload, **values})


def config_read(target: int, offset: int, **fields: Any) -> Tlp:
    """Type 0 configuration read of the dword at ``offset`` of the function ``target``."""
    values = {"length": 1, "address": offset & 0xFFC, "first_be": 0xF, **fields}
    return Tlp(TlpKind.CFGRD0, completer_id=target, **values)


def config_write(target: int, offset: int, value: int, first_be: int = 0xF, **fields: Any) -> Tlp:
    """Type 0 configuration write of the dword at ``offset`` of the function ``target``."""
    payload = value.to_bytes(4, "little")
    values = {"length": 1, "address": offset & 0xFFC, "payload": payload, **fields}
    return Tlp(TlpKind.CFGWR0, completer_id=target, first_be=first_be, **values)


def request_bytes(request: Tlp) -> tuple[int, int]:
    """Address and size of a memory request in bytes (table 2-39, table 2-40).

    Returns
    -------
    tuple
        Byte address of the first enabled byte, and number of bytes from the first to the last
        enabled byte. A dword with no byte enabled is treated as if byte 0 were enabled: a
        zero-length request returns the address of its dword and 1.
    """
    first = request.first_be or 1
    last = first if request.length == 1 else request.last_be or 1
    lead = (first & -first).bit_length() - 1
    trail = 4 - last.bit_length()
    return request.address + lead, 4 * request.length - lead - trail


def more_to_come(tlp: Tlp) -> bool:
    """Whether further completions of the same memory read follow (section 2.3.1.1)."""
    received = 4 * tlp.length - (tlp.lower_address & 3)
    return tlp.status == CplStatus.SC and tlp.has_data and tlp.byte_count > received


def completion(request: Tlp, completer_id: int, payload: bytes = b"", **fields: Any) -> Tlp:
    """The single completion of ``request``; ``fields`` override the computed ones.

    Parameters
    ----------
    request
        The request; the completion echoes its requester id, tag, traffic class and attributes.
    completer_id
        16 bits.
    payload
        Dwords from the request's dword address on; empty for a completion without data.
    """
    kind = TlpKind.CPLLK if request.kind in LOCKED_READS else TlpKind.CPL
    if payload:
        kind = TlpKind(kind | 0x40)
    byte_count, lower_address = 4, 0
    if request.kind in MEMORY_READS:
        first, byte_count = request_bytes(request)
        lower_address = first & 0x7F
    tlp = Tlp(
        kind,
        length=len(payload) // 4,
        requester_id=request.requester_id,
        completer_id=completer_id,
        tag=request.tag,
        tc=request.tc,
        attr=request.attr & 3,
        byte_count=byte_count,
        lower_address=lower_address,
        payload=payload,
    )
    return tlp.replace(**fields) if fields else tlp
