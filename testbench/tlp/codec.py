# SPDX-License-Identifier: BSD-2-Clause
"""Transaction layer packets: a small, fast codec between fields, headers and stream beats.

Layouts follow PCI Express Base 4.0 section 2.2. A header is a 128-bit integer with its first byte
in bits 127:120; bits 31:0 of a 3-dword header are zero. The payload is in memory order, with the
first dword in lane 0 for every address (the generic TLP interface of verilog-pcie).

The codec is lossless and checks no rules, so that tests can send illegal packets.
:mod:`testbench.tlp.rules` has the rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

MAX_LENGTH = 1024
"""Dwords of the longest payload or read, encoded as Length 0 (section 2.2.2)."""


class TlpError(ValueError):
    """A packet cannot be packed or unpacked; the text names the field."""


class TlpKind(IntEnum):
    """Fmt and Type, as the header's first byte: ``fmt << 5 | type`` (table 2-3)."""

    MRD32 = 0x00
    MRD64 = 0x20
    MRDLK32 = 0x01
    MRDLK64 = 0x21
    MWR32 = 0x40
    MWR64 = 0x60
    IORD = 0x02
    IOWR = 0x42
    CFGRD0 = 0x04
    CFGWR0 = 0x44
    CFGRD1 = 0x05
    CFGWR1 = 0x45
    CPL = 0x0A
    CPLD = 0x4A
    CPLLK = 0x0B
    CPLDLK = 0x4B
    FETCHADD32 = 0x4C
    FETCHADD64 = 0x6C
    SWAP32 = 0x4D
    SWAP64 = 0x6D
    CAS32 = 0x4E
    CAS64 = 0x6E


class CplStatus(IntEnum):
    """Completion Status (table 2-34)."""

    SC = 0
    UR = 1
    CRS = 2
    CA = 4


class CompletionErrorCode(IntEnum):
    """Error that a hard block found in a completion: ``_error`` of verilog-pcie's bundles."""

    NONE = 0
    POISONED = 1
    BAD_STATUS = 2
    MISMATCH = 3
    INVALID_LENGTH = 4
    INVALID_ADDRESS = 5
    INVALID_TAG = 6
    FUNCTION_RESET = 8
    TIMEOUT = 15


MEMORY_READS = frozenset({TlpKind.MRD32, TlpKind.MRD64, TlpKind.MRDLK32, TlpKind.MRDLK64})
LOCKED_READS = frozenset({TlpKind.MRDLK32, TlpKind.MRDLK64})
MEMORY_WRITES = frozenset({TlpKind.MWR32, TlpKind.MWR64})
CONFIG_REQUESTS = frozenset({TlpKind.CFGRD0, TlpKind.CFGWR0, TlpKind.CFGRD1, TlpKind.CFGWR1})
IO_REQUESTS = frozenset({TlpKind.IORD, TlpKind.IOWR})
ATOMICS = frozenset(
    {
        TlpKind.FETCHADD32,
        TlpKind.FETCHADD64,
        TlpKind.SWAP32,
        TlpKind.SWAP64,
        TlpKind.CAS32,
        TlpKind.CAS64,
    }
)
COMPLETIONS = frozenset({TlpKind.CPL, TlpKind.CPLD, TlpKind.CPLLK, TlpKind.CPLDLK})
NON_POSTED = MEMORY_READS | CONFIG_REQUESTS | IO_REQUESTS | ATOMICS
"""Requests that require a completion (section 2.1.1)."""


def pcie_id(bus: int, device: int, function: int = 0) -> int:
    """Encode a requester or completer id in 16 bits."""
    return bus << 8 | device << 3 | function


def id_text(identifier: int) -> str:
    """Format a 16-bit requester or completer id as ``bb:dd.f``."""
    return f"{identifier >> 8:02x}:{identifier >> 3 & 0x1F:02x}.{identifier & 7}"


@dataclass(slots=True)
class Tlp:
    """One packet, with the specification's field names.

    Parameters
    ----------
    kind
        First byte of the header: a :class:`TlpKind`, or any ``fmt << 5 | type``.
    length
        Dwords: 1 to 1,024 in packets with a payload and in reads, 0 in other completions and in
        messages without payload.
    requester_id, completer_id
        16 bits. ``completer_id`` is the target of a configuration request.
    tag
        10 bits: T9, T8 and Tag[7:0].
    first_be, last_be
        Byte enables of a request; in a message, bits 3:0 and 7:4 of the message code.
    address
        Byte address with the two lowest bits zero. In a configuration request, bits 15:2 of the
        third dword; in a message, the third and fourth dwords.
    processing_hint
        The two bits below ``address``.
    status, bcm, byte_count, lower_address
        Fields of a completion. ``byte_count`` is 1 to 4,096.
    payload
        Bytes in memory order, a multiple of 4.
    header
        The 128 bits passed to :meth:`unpack`, ``None`` otherwise. Ignored in comparisons.
    """

    kind: int
    length: int = 0
    requester_id: int = 0
    tag: int = 0
    first_be: int = 0
    last_be: int = 0
    address: int = 0
    processing_hint: int = 0
    completer_id: int = 0
    status: int = 0
    bcm: int = 0
    byte_count: int = 0
    lower_address: int = 0
    tc: int = 0
    attr: int = 0
    at: int = 0
    ep: int = 0
    td: int = 0
    th: int = 0
    ln: int = 0
    payload: bytes = b""
    header: int | None = field(default=None, compare=False, repr=False)

    @property
    def fmt(self) -> int:
        """Fmt[2:0]."""
        return self.kind >> 5

    @property
    def type(self) -> int:
        """Type[4:0]."""
        return self.kind & 0x1F

    @property
    def four_dwords(self) -> bool:
        """Whether the header has four dwords."""
        return bool(self.kind & 0x20)

    @property
    def has_data(self) -> bool:
        """Whether Fmt indicates a payload."""
        return bool(self.kind & 0x40)

    @property
    def is_completion(self) -> bool:
        """Whether this is a completion of any kind."""
        return self.kind in COMPLETIONS

    @property
    def is_non_posted(self) -> bool:
        """Whether this request requires a completion."""
        return self.kind in NON_POSTED

    def pack(self) -> int:
        """Encode the header in 128 bits.

        Raises
        ------
        TlpError
            The payload is not whole dwords, or a field does not fit.
        """
        if len(self.payload) % 4:
            raise TlpError(f"payload is {len(self.payload)} bytes: must be a multiple of 4")
        word0 = (
            self.kind << 24
            | (self.tag >> 9 & 1) << 23
            | self.tc << 20
            | (self.tag >> 8 & 1) << 19
            | (self.attr >> 2 & 1) << 18
            | self.ln << 17
            | self.th << 16
            | self.td << 15
            | self.ep << 14
            | (self.attr & 3) << 12
            | self.at << 10
            | self.length & 0x3FF
        )
        if self.kind in COMPLETIONS:
            word1 = (
                self.completer_id << 16
                | self.status << 13
                | self.bcm << 12
                | self.byte_count & 0xFFF
            )
            words2_3 = (self.requester_id << 16 | (self.tag & 0xFF) << 8 | self.lower_address) << 32
        else:
            word1 = (
                self.requester_id << 16 | (self.tag & 0xFF) << 8 | self.last_be << 4 | self.first_be
            )
            low = self.address | self.processing_hint
            if self.kind in CONFIG_REQUESTS:
                low |= self.completer_id << 16
            words2_3 = low if self.four_dwords else low << 32
        if word0 >> 32 or word1 >> 32 or words2_3 >> 64:
            raise TlpError(f"a field of {self!r} does not fit its header")
        return word0 << 96 | word1 << 64 | words2_3

    @classmethod
    def unpack(cls, header: int, payload: bytes = b"") -> Tlp:
        """Decode a 128-bit header and its payload; keep the header for rule checks."""
        word0, word1, words2_3 = header >> 96, header >> 64 & 0xFFFF_FFFF, header & (1 << 64) - 1
        kind = word0 >> 24
        length = word0 & 0x3FF
        if not length and not (kind in (TlpKind.CPL, TlpKind.CPLLK) or kind & 0xF8 == 0x30):
            length = MAX_LENGTH
        tlp = cls(
            kind,
            length=length,
            tag=(word0 >> 23 & 1) << 9 | (word0 >> 19 & 1) << 8,
            tc=word0 >> 20 & 7,
            attr=(word0 >> 18 & 1) << 2 | word0 >> 12 & 3,
            ln=word0 >> 17 & 1,
            th=word0 >> 16 & 1,
            td=word0 >> 15 & 1,
            ep=word0 >> 14 & 1,
            at=word0 >> 10 & 3,
            payload=payload,
            header=header,
        )
        if kind in COMPLETIONS:
            word2 = words2_3 >> 32
            tlp.completer_id = word1 >> 16
            tlp.status = word1 >> 13 & 7
            tlp.bcm = word1 >> 12 & 1
            tlp.byte_count = (word1 & 0xFFF) or 4096
            tlp.requester_id = word2 >> 16
            tlp.tag |= word2 >> 8 & 0xFF
            tlp.lower_address = word2 & 0x7F
            return tlp
        tlp.requester_id = word1 >> 16
        tlp.tag |= word1 >> 8 & 0xFF
        tlp.last_be = word1 >> 4 & 0xF
        tlp.first_be = word1 & 0xF
        low = words2_3 if kind & 0x20 else words2_3 >> 32
        if kind in CONFIG_REQUESTS:
            tlp.completer_id = low >> 16
            low &= 0xFFFF
        tlp.address = low & ~3
        tlp.processing_hint = low & 3
        return tlp

    def beats(self, data_width: int) -> Iterator[dict[str, int]]:
        """Split the packet into beats of a stream ``data_width`` bits wide.

        Yields
        ------
        dict
            ``hdr``, ``data``, ``strb``, ``sop`` and ``eop`` of each beat. ``hdr`` is repeated on
            every beat; it is valid on the first.
        """
        header = self.pack()
        step = data_width // 8
        size = len(self.payload)
        for start in range(0, max(size, 1), step):
            chunk = self.payload[start : start + step]
            yield {
                "hdr": header,
                "data": int.from_bytes(chunk, "little"),
                "strb": (1 << len(chunk) // 4) - 1,
                "sop": int(start == 0),
                "eop": int(start + step >= size),
            }

    def replace(self, **changes: Any) -> Tlp:
        """Copy the packet with ``changes`` and without its ``header``."""
        return replace(self, header=None, **changes)

    def __str__(self) -> str:
        try:
            name = TlpKind(self.kind).name
        except ValueError:
            name = f"kind {self.kind:#04x}"
        if self.kind in COMPLETIONS:
            try:
                status = CplStatus(self.status).name
            except ValueError:
                status = f"status {self.status}"
            return (
                f"{name} {status} {id_text(self.completer_id)} → {id_text(self.requester_id)} "
                f"tag {self.tag:#x} length {self.length} byte count {self.byte_count} "
                f"lower address {self.lower_address:#x}"
            )
        return (
            f"{name} {id_text(self.requester_id)} tag {self.tag:#x} address {self.address:#x} "
            f"length {self.length} be {self.first_be:#x}/{self.last_be:#x}"
        )


def error_code(tlp: Tlp) -> int:
    """Error code that a hard block derives from a completion's own header."""
    if tlp.status != CplStatus.SC:
        return CompletionErrorCode.BAD_STATUS
    return CompletionErrorCode.POISONED if tlp.ep else CompletionErrorCode.NONE


def from_cocotbext(packet: Any) -> Tlp:
    """Convert a :class:`cocotbext.pcie.core.tlp.Tlp` to a :class:`Tlp`."""
    header = int.from_bytes(bytes(packet.pack_header()).ljust(16, b"\0"), "big")
    return Tlp.unpack(header, bytes(packet.data) if packet.has_data() else b"")


def to_cocotbext(packet: Tlp) -> Any:
    """Convert a :class:`Tlp` to a :class:`cocotbext.pcie.core.tlp.Tlp`.

    Raises
    ------
    TlpError
        cocotbext-pcie does not support this kind of packet.
    """
    # Imported here: the codec works without cocotb.
    from cocotbext.pcie.core.tlp import Tlp as CocotbextTlp

    header = packet.pack().to_bytes(16, "big")
    try:
        converted = CocotbextTlp.unpack_header(header)
    except Exception as error:
        raise TlpError(f"cocotbext-pcie cannot carry {packet}: {error}") from error
    converted.data = bytearray(packet.payload)
    return converted
