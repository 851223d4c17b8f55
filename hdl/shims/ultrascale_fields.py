# SPDX-License-Identifier: BSD-2-Clause
"""Descriptors and sidebands of the UltraScale and UltraScale+ integrated blocks for PCI Express.

Sources: PG156 (UltraScale) and PG213 (UltraScale+), chapters on the completer and requester
interfaces, dword-aligned mode without straddling. Structures list fields from the least significant
bit up.
"""

from dataclasses import dataclass, replace

from amaranth.hdl import Cat, Const, Mux, Value
from amaranth.lib import data, enum

from ..tlp import CompletionHeader, RequestHeader, TlpFormat, TlpType, first_dword

__all__ = [
    "CompleterCompletion",
    "CompleterRequest",
    "RequestType",
    "RequesterCompletion",
    "RequesterRequest",
    "Sideband",
    "completion_of",
    "header_of_completion",
    "header_of_request",
    "is_message",
    "request_of",
    "sideband",
]


class RequestType(enum.Enum, shape=4):
    """Request Type of a descriptor."""

    MEMORY_READ = 0b0000
    MEMORY_WRITE = 0b0001
    IO_READ = 0b0010
    IO_WRITE = 0b0011
    FETCH_ADD = 0b0100
    SWAP = 0b0101
    COMPARE_AND_SWAP = 0b0110
    LOCKED_READ = 0b0111
    MESSAGE = 0b1100
    VENDOR_MESSAGE = 0b1101
    ATS_MESSAGE = 0b1110


REQUESTS = (
    (RequestType.MEMORY_READ, False, TlpType.MEMORY),
    (RequestType.MEMORY_WRITE, True, TlpType.MEMORY),
    (RequestType.IO_READ, False, TlpType.IO),
    (RequestType.IO_WRITE, True, TlpType.IO),
    (RequestType.FETCH_ADD, True, TlpType.FETCH_ADD),
    (RequestType.SWAP, True, TlpType.SWAP),
    (RequestType.COMPARE_AND_SWAP, True, TlpType.COMPARE_AND_SWAP),
    (RequestType.LOCKED_READ, False, TlpType.MEMORY_LOCKED),
)
"""For each type except messages: whether it has a payload, and the type of the TLP."""


class CompleterRequest(data.Struct):
    """Request of the host. For a message, ``function`` is its code and ``bar`` its routing."""

    at: 2
    address: 62
    dwords: 11
    type: RequestType
    reserved: 1
    requester_id: 16
    tag: 8
    function: 8
    bar: 3
    aperture: 6
    tc: 3
    attr: 3
    reserved1: 1


class CompleterCompletion(data.Struct):
    """Completion for the host. Without ``id_enable`` the block inserts the completer ID."""

    lower_address: 7
    reserved: 1
    at: 2
    reserved1: 6
    byte_count: 13
    locked: 1
    reserved2: 2
    dwords: 11
    status: 3
    poisoned: 1
    reserved3: 1
    requester_id: 16
    tag: 8
    completer_id: 16
    id_enable: 1
    tc: 3
    attr: 3
    ecrc: 1


class RequesterRequest(data.Struct):
    """Request of the function. Without ``id_enable`` the block inserts the requester ID."""

    at: 2
    address: 62
    dwords: 11
    type: RequestType
    poisoned: 1
    requester_id: 16
    tag: 8
    completer_id: 16
    id_enable: 1
    tc: 3
    attr: 3
    ecrc: 1


class RequesterCompletion(data.Struct):
    """Completion of the host, or of the block in its place, which ``error`` describes."""

    lower_address: 12
    error: 4
    byte_count: 13
    locked: 1
    completed: 1
    reserved: 1
    dwords: 11
    status: 3
    poisoned: 1
    reserved1: 1
    requester_id: 16
    tag: 8
    completer_id: 16
    reserved2: 1
    tc: 3
    attr: 3
    reserved3: 1


@dataclass(frozen=True)
class Sideband:
    """Positions of fields in ``tuser`` of the four streams.

    Parameters
    ----------
    cq, cc, rq, rc
        Bits of ``tuser``.
    cq_discontinue, rc_discontinue
        Bit that marks the packet of a beat as corrupt.
    cq_last_be, rq_last_be
        First bit of Last BE. First BE begins at bit 0.
    rq_sequence
        Parts of the sequence number, from the least significant one: first bit and width of each.
    cc_frame, rq_frame
        Positions of ``is_sop``, ``is_eop`` and the number of the last lane, or None if the stream
        has no such marks.
    """

    cq: int
    cc: int
    rq: int
    rc: int
    cq_discontinue: int
    rc_discontinue: int
    cq_last_be: int
    rq_last_be: int
    rq_sequence: tuple[tuple[int, int], ...]
    cc_frame: tuple[int, int, int] | None = None
    rq_frame: tuple[int, int, int] | None = None


ULTRASCALE = Sideband(
    cq=85,
    cc=33,
    rq=60,
    rc=75,
    cq_discontinue=41,
    rc_discontinue=42,
    cq_last_be=4,
    rq_last_be=4,
    rq_sequence=((24, 4),),
)
ULTRASCALE_PLUS = replace(ULTRASCALE, cq=88, rq=62, rq_sequence=((24, 4), (60, 2)))
ULTRASCALE_PLUS_512 = Sideband(
    cq=183,
    cc=81,
    rq=137,
    rc=161,
    cq_discontinue=96,
    rc_discontinue=96,
    cq_last_be=8,
    rq_last_be=8,
    rq_sequence=((61, 6),),
    cc_frame=(0, 6, 8),
    rq_frame=(20, 26, 28),
)


def sideband(data_width: int, *, plus: bool) -> Sideband:
    """Sideband of a family at a width.

    Raises
    ------
    ValueError
        The family does not have that width.
    """
    if data_width == 512:
        if not plus:
            raise ValueError("data_width is 512: UltraScale has 64, 128 and 256 bits")
        return ULTRASCALE_PLUS_512
    return ULTRASCALE_PLUS if plus else ULTRASCALE


def is_message(request: data.View) -> Value:
    """Whether a :class:`CompleterRequest` is a message."""
    return Value.cast(request.type)[2:] == 0b11


def header_of_request(request: data.View, first_be: Value, last_be: Value) -> Value:
    """TLP header of a :class:`CompleterRequest`, 128 bits, in the four-dword form."""
    code = request.function
    has_code = is_message(request)
    # A message has a payload if its length is not 0; bits 2:0 of its type are its routing.
    fmt = Mux(request.dwords == 0, TlpFormat.HEADER_4DW, TlpFormat.DATA_4DW)
    kind = Cat(request.bar, Const(0b10, 2))
    for request_type, has_payload, tlp_type in REQUESTS:
        chosen = request.type == request_type
        its_format = TlpFormat.DATA_4DW if has_payload else TlpFormat.HEADER_4DW
        fmt = Mux(chosen, its_format, fmt)
        kind = Mux(chosen, tlp_type, kind)
    return Cat(
        Const(0, 2),
        request.address,
        Mux(has_code, code[:4], first_be),
        Mux(has_code, code[4:], last_be),
        request.tag,
        request.requester_id,
        first_dword(
            fmt=fmt,
            kind=kind,
            length=request.dwords[:10],
            tc=request.tc,
            attr=request.attr,
            at=request.at,
        ),
    )


def completion_of(header: Value) -> Value:
    """:class:`CompleterCompletion` of a TLP header, 96 bits. The block inserts the completer ID."""
    source = CompletionHeader(header)
    word0 = source.word0
    byte_count = Cat(source.byte_count, source.byte_count == 0)
    dwords = Cat(word0.length, word0.length == 0)
    return Cat(
        source.lower_address,
        Const(0, 1),
        Const(0, 2),
        Const(0, 6),
        byte_count,
        word0.type == TlpType.COMPLETION_LOCKED,
        Const(0, 2),
        Mux(word0.has_payload, dwords, 0)[:11],
        Value.cast(source.status),
        word0.ep,
        Const(0, 1),
        source.requester_id,
        source.tag,
        Const(0, 16),
        Const(0, 1),
        word0.tc,
        word0.attr,
        word0.ido,
        Const(0, 1),
    )


def request_of(header: Value) -> Value:
    """:class:`RequesterRequest` of a memory request header in the four-dword form, 128 bits.

    The block inserts the requester ID.
    """
    source = RequestHeader(header)
    word0 = source.word0
    return Cat(
        Const(0, 2),
        source.dword3[2:],
        source.dword2,
        Cat(word0.length, word0.length == 0),
        Mux(word0.has_payload, RequestType.MEMORY_WRITE, RequestType.MEMORY_READ)[:4],
        word0.ep,
        Const(0, 16),
        source.tag,
        Const(0, 16),
        Const(0, 1),
        word0.tc,
        word0.attr,
        word0.ido,
        Const(0, 1),
    )


def header_of_completion(completion: data.View) -> Value:
    """TLP header of a :class:`RequesterCompletion`, 128 bits.

    The block has already matched the completion with a request of the function, and the core has
    requester ID 0.
    """
    fmt = Mux(completion.dwords == 0, TlpFormat.HEADER_3DW, TlpFormat.DATA_3DW)
    kind = Mux(completion.locked, TlpType.COMPLETION_LOCKED, TlpType.COMPLETION)
    return Cat(
        Const(0, 32),
        completion.lower_address[:7],
        Const(0, 1),
        completion.tag,
        Const(0, 16),
        completion.byte_count[:12],
        Const(0, 1),
        completion.status,
        completion.completer_id,
        first_dword(
            fmt=fmt,
            kind=kind,
            length=completion.dwords[:10],
            tc=completion.tc,
            attr=completion.attr,
            ep=completion.poisoned,
        ),
    )
