# SPDX-License-Identifier: BSD-2-Clause
"""TLP bundles of the generic TLP interface as streams of :class:`~testbench.tlp.Tlp`.

Signals: ``<prefix>_data[W]``, ``_strb[W/32]`` (one bit for each dword), ``_hdr[128]``, ``_valid``,
``_sop``, ``_eop``, ``_ready``; optional ``_bar_id[3]``, ``_func_num[8]`` and ``_error[4]``. A
bundle of requests without payload has no data and no strb.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..tlp import Tlp
from .framing import Beat, Framing, StreamError
from .valid_ready import StreamSink, StreamSource, StreamWatcher


@dataclass(slots=True)
class TlpPacket:
    """A TLP and the sideband signals of its bundle.

    Parameters
    ----------
    tlp
        The packet.
    bar_id, func_num
        For a request to the design: the BAR that matched and the function.
    error
        For a completion to the design: a :class:`~testbench.tlp.CompletionErrorCode`.
    """

    tlp: Tlp
    bar_id: int = 0
    func_num: int = 0
    error: int = 0


class TlpAssembler:
    """Assembles beats into :class:`TlpPacket` objects; checks sop, eop, strb and hdr."""

    def __init__(self, name: str, data_width: int) -> None:
        self.name = name
        self.lanes = data_width // 32
        self._full = (1 << self.lanes) - 1
        self._first: Beat | None = None
        self._payload = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a packet is incomplete."""
        return self._first is not None

    def reset(self) -> None:
        """Drop an incomplete packet."""
        self._first = None

    def feed(self, beat: Beat) -> TlpPacket | None:
        """Add one beat; return the packet that it completes.

        Raises
        ------
        StreamError
            sop is missing or repeated, strb has a hole or is not full before eop, or hdr[31:0] of a
            3-dword header is not zero.
        """
        if beat["sop"]:
            if self._first is not None:
                raise StreamError(f"{self.name}: sop before the eop of the previous packet")
            header = beat["hdr"]
            if not header >> 125 & 1 and header & 0xFFFF_FFFF:
                raise StreamError(f"{self.name}: hdr[31:0] of a 3-dword header is not zero")
            self._first = beat
            self._payload.clear()
        elif self._first is None:
            raise StreamError(f"{self.name}: beat without sop outside a packet")
        strb = beat.get("strb", 0)
        if strb & strb + 1:
            raise StreamError(f"{self.name}: strb {strb:#b} is not contiguous from lane 0")
        if not beat["eop"] and strb != self._full:
            raise StreamError(f"{self.name}: strb {strb:#b} is not full before eop")
        if not beat["sop"] and not strb:
            raise StreamError(f"{self.name}: beat after sop without data")
        if strb:
            dwords = strb.bit_length()
            data = beat["data"] & (1 << 32 * dwords) - 1
            self._payload += data.to_bytes(4 * dwords, "little")
        if not beat["eop"]:
            return None
        first, self._first = self._first, None
        return TlpPacket(
            Tlp.unpack(first["hdr"], bytes(self._payload)),
            bar_id=first.get("bar_id", 0),
            func_num=first.get("func_num", 0),
            error=first.get("error", 0),
        )


class TlpFraming(Framing):
    """Framing of a bundle; takes the data width from the design.

    Parameters
    ----------
    dut, prefix
        The design's top and the bundle's name.
    """

    def __init__(self, dut: Any, prefix: str) -> None:
        super().__init__(
            valid="valid",
            ready="ready",
            signals=("hdr", "sop", "eop"),
            optional=("data", "strb", "bar_id", "func_num", "error"),
            enables={"data": "strb", "hdr": "sop"},
        )
        data = getattr(dut, f"{prefix}_data", None)
        # A bundle without data transfers one header per beat.
        self.data_width = 32 if data is None else len(data)

    def beats(self, packet: TlpPacket) -> Iterator[Beat]:
        """Yield the beats of ``packet``."""
        extra = {"bar_id": packet.bar_id, "func_num": packet.func_num, "error": packet.error}
        for beat in packet.tlp.beats(self.data_width):
            yield {**beat, **extra}

    def assembler(self, name: str) -> TlpAssembler:
        """Create an assembler; its errors name the stream ``name``."""
        return TlpAssembler(name, self.data_width)


class TlpSource(StreamSource[TlpPacket]):
    """Drives :class:`TlpPacket` objects into a bundle.

    Parameters are those of :class:`~testbench.stream.valid_ready.StreamSource`.
    """

    framing_type = TlpFraming


class TlpSink(StreamSink[TlpPacket]):
    """Receives :class:`TlpPacket` objects from a bundle.

    Parameters are those of :class:`~testbench.stream.valid_ready.StreamSink`.
    """

    framing_type = TlpFraming


class TlpWatcher(StreamWatcher[TlpPacket]):
    """Watches a bundle, in either direction.

    Parameters are those of :class:`~testbench.stream.valid_ready.StreamWatcher`.
    """

    framing_type = TlpFraming
