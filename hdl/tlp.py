# SPDX-License-Identifier: BSD-2-Clause
"""Transaction layer packets: headers as structures, and the payload of a stream of them.

Headers follow PCI Express Base 4.0 section 2.2. The stream is the generic interface of the
open-source verilog-pcie library: the header beside the data, its first byte in bits 127:120, data
aligned to dwords (the first payload dword is lane 0 whatever the address), one segment.
"""

from amaranth.hdl import Cat, Const, Mux, Value, ValueLike
from amaranth.lib import data, enum, stream

from models.config_space import LARGEST_SIZE_CODE, coded_size

__all__ = [
    "DATA_WIDTHS",
    "IGNORED_MESSAGES",
    "CompletionHeader",
    "CompletionStatus",
    "HeaderWord0",
    "RequestHeader",
    "TlpFormat",
    "TlpType",
    "check_data_width",
    "coded_dwords",
    "coded_mask",
    "completion_signature",
    "first_dword",
    "header_signature",
    "memory_header",
    "payload_lanes",
    "raw_signature",
    "request_signature",
]

DATA_WIDTHS = (64, 128, 256, 512)


def check_data_width(data_width: int) -> int:
    """Return ``data_width`` if it is supported, else raise :class:`ValueError`."""
    if data_width not in DATA_WIDTHS:
        raise ValueError(f"data_width is {data_width!r}: must be 64, 128, 256 or 512")
    return data_width


class TlpFormat(enum.Enum, shape=3):
    """Fmt field: header length and whether there is a payload (table 2-2)."""

    HEADER_3DW = 0b000
    HEADER_4DW = 0b001
    DATA_3DW = 0b010
    DATA_4DW = 0b011
    PREFIX = 0b100


class TlpType(enum.Enum, shape=5):
    """Type field: the types that the endpoint distinguishes (table 2-3)."""

    MEMORY = 0b00000
    MEMORY_LOCKED = 0b00001
    IO = 0b00010
    CONFIG_0 = 0b00100
    CONFIG_1 = 0b00101
    COMPLETION = 0b01010
    COMPLETION_LOCKED = 0b01011
    FETCH_ADD = 0b01100
    SWAP = 0b01101
    COMPARE_AND_SWAP = 0b01110


IGNORED_MESSAGES = (
    0x00,  # Unlock
    0x14,  # PM_Active_State_Nak
    0x19,  # PME_Turn_Off
    *(0x40, 0x41, 0x43, 0x44, 0x45, 0x47, 0x48),  # Ignored Messages, of indicators and buttons
    0x50,  # Set_Slot_Power_Limit
    0x7F,  # Vendor_Defined Type 1
)
"""Message codes that an endpoint without the mechanism discards silently (sections 2.2.8 and
2.3.1); all others that it may receive are unsupported requests."""


class CompletionStatus(enum.Enum, shape=3):
    """Completion Status field (table 2-34)."""

    SUCCESS = 0b000
    UNSUPPORTED_REQUEST = 0b001
    RETRY = 0b010
    ABORT = 0b100


class HeaderWord0(data.Struct):
    """First dword of every header (figure 2-5); fields from the least significant bit up.

    ``length`` counts dwords; 0 means 1,024.
    """

    length: 10
    at: 2
    attr: 2
    ep: 1
    td: 1
    th: 1
    ln: 1
    ido: 1
    t8: 1
    tc: 3
    t9: 1
    type: 5
    fmt: 3

    @property
    def four_dwords(self) -> Value:
        """The header has four dwords, not three."""
        return self.fmt[0]

    @property
    def has_payload(self) -> Value:
        """The TLP has a payload."""
        return self.fmt[1]

    @property
    def is_prefix(self) -> Value:
        """This is a TLP prefix, not a header."""
        return self.fmt[2]

    @property
    def is_message(self) -> Value:
        """A Message, with or without data, unless it is a prefix."""
        return self.type[3:] == 0b10

    @property
    def is_completion(self) -> Value:
        """A completion, locked or not, unless it is a prefix."""
        return self.type[1:] == Value.cast(TlpType.COMPLETION)[1:]


class RequestHeader(data.Struct):
    """Header of a memory, I/O or configuration request (section 2.2.7), 128 bits.

    ``dword2`` is the address below 4 GiB of a 3-dword header, or the upper half of a 4-dword one,
    whose lower half is ``dword3``. In a configuration request ``dword2`` names the target.
    """

    dword3: 32
    dword2: 32
    first_be: 4
    last_be: 4
    tag: 8
    requester_id: 16
    word0: HeaderWord0

    @property
    def low_address(self) -> Value:
        """Address bits 31:0 of either form."""
        return Mux(self.word0.four_dwords, self.dword3, self.dword2)


class CompletionHeader(data.Struct):
    """Header of a completion (section 2.2.9), three dwords in the upper 96 of 128 bits.

    ``byte_count`` counts the remaining bytes of the request, this completion included; 0 means
    4,096.
    """

    unused: 32
    lower_address: 7
    reserved: 1
    tag: 8
    requester_id: 16
    byte_count: 12
    bcm: 1
    status: CompletionStatus
    completer_id: 16
    word0: HeaderWord0


class ConfigTarget(data.Struct):
    """Third dword of a configuration request (section 2.2.7.3)."""

    reserved0: 2
    register: 10
    reserved1: 4
    function: 3
    device: 5
    bus: 8


def first_dword(
    *,
    fmt: ValueLike,
    kind: ValueLike,
    length: ValueLike,
    tc: ValueLike = 0,
    attr: ValueLike = 0,
    at: ValueLike = 0,
    ep: ValueLike = 0,
) -> Value:
    """Value of a :class:`HeaderWord0` with these fields; ``attr`` has all three bits."""

    def bits(value: ValueLike, width: int) -> Value:
        return (Const(0, width) | value)[:width]

    attributes = bits(attr, 3)
    return Cat(
        bits(length, 10),
        bits(at, 2),
        attributes[:2],
        bits(ep, 1),
        Const(0, 3),
        attributes[2],
        Const(0, 1),
        bits(tc, 3),
        Const(0, 1),
        bits(Value.cast(kind), 5),
        bits(Value.cast(fmt), 3),
    )


def memory_header(
    *,
    address: Value,
    length: ValueLike,
    first_be: ValueLike,
    last_be: ValueLike,
    requester_id: Value,
    write: bool,
    tag: ValueLike = 0,
    long: Value | None = None,
) -> Value:
    """Value of the header of a memory request, 128 bits.

    Parameters
    ----------
    address
        Dword address, 62 bits.
    length
        Dwords; the lower 10 bits are used.
    first_be, last_be
        Byte enables of the first and the last dword; the lower 4 bits are used.
    requester_id
        Requester ID, 16 bits.
    write
        Whether the request is a write.
    tag
        Tag; the lower 8 bits are used.
    long
        The header has four dwords. By default it has if the address is 4 GiB or above (section
        2.2.4.1).
    """
    low, high = Cat(Const(0, 2), address[:30]), address[30:]
    if long is None:
        long = high.any()
    if write:
        format_ = Mux(long, TlpFormat.DATA_4DW, TlpFormat.DATA_3DW)
    else:
        format_ = Mux(long, TlpFormat.HEADER_4DW, TlpFormat.HEADER_3DW)
    word0 = first_dword(fmt=format_, kind=TlpType.MEMORY, length=length)
    return Cat(
        Mux(long, low, 0),
        Mux(long, high, low),
        Value.cast(first_be)[:4],
        Value.cast(last_be)[:4],
        (Const(0, 8) | tag)[:8],
        requester_id,
        word0,
    )


def _beat(data_width: int, **more: int) -> data.StructLayout:
    check_data_width(data_width)
    return data.StructLayout(
        {
            "data": data_width,
            "strb": data_width // 32,
            "hdr": 128,
            **more,
            "sop": 1,
            "eop": 1,
        }
    )


def raw_signature(data_width: int) -> stream.Signature:
    """Stream of TLPs of every kind, ``data_width`` bits of payload per beat.

    The payload has ``data``; ``strb``, a bit for each dword; ``hdr[128]``, valid with ``sop``; and
    ``sop`` and ``eop`` on a TLP's first and last beat. A TLP without payload is one beat.
    """
    return stream.Signature(_beat(data_width))


def request_signature(data_width: int) -> stream.Signature:
    """Stream of requests: :func:`raw_signature` plus ``bar_id[3]`` and ``func_num[8]``.

    Both are valid with ``sop``. A ``bar_id`` that is not one of the endpoint's BARs means that no
    BAR matches.
    """
    return stream.Signature(_beat(data_width, bar_id=3, func_num=8))


def completion_signature(data_width: int) -> stream.Signature:
    """Stream of received completions: :func:`raw_signature` plus ``error[4]``."""
    return stream.Signature(_beat(data_width, error=4))


def header_signature() -> stream.Signature:
    """Stream of TLPs without payload: ``hdr[128]``, ``sop``, ``eop``."""
    return stream.Signature(data.StructLayout({"hdr": 128, "sop": 1, "eop": 1}))


def coded_dwords(code: Value) -> Value:
    """Decode ``code`` of Max_Payload_Size or Max_Read_Request_Size to dwords, 11 bits.

    A reserved code is treated as the largest defined one.
    """
    limited = Mux(code > LARGEST_SIZE_CODE, LARGEST_SIZE_CODE, code)
    return (Const(coded_size(0) // 4) << limited)[:11]


def coded_mask(code: Value) -> Value:
    """:func:`coded_dwords` less one, 10 bits: a mask, in gates instead of a carry chain."""
    smallest = coded_size(0) // 4 - 1
    # As many ones as the code says, and no more than there are places for.
    ones = (1 << len(code)) - 1
    above = (Const((1 << ones) - 1) << code)[ones : ones + LARGEST_SIZE_CODE]
    return Cat(Const(smallest), above)


def payload_lanes(dwords: ValueLike, lanes: int) -> Value:
    """``strb`` of a beat of ``lanes`` lanes when ``dwords`` dwords of the payload remain."""
    count = Value.cast(dwords)
    return Value.cast(sum(((count > lane).as_unsigned() << lane for lane in range(lanes)), start=0))
