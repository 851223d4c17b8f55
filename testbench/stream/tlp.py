# SPDX-License-Identifier: BSD-2-Clause
"""TLP bundles of the generic TLP interface as streams of :class:`~testbench.tlp.Tlp`.

Signals: ``<prefix>_data[W]``, ``_strb[W/32]`` (a bit for each dword), ``_hdr[128]``, ``_valid``,
``_sop``, ``_eop``, ``_ready``, and where the bundle has them ``_bar_id[3]``, ``_func_num[8]`` and
``_error[4]``. A bundle of requests without payload has no data and no strb.
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
    """A packet and what a bundle carries beside it.

    Parameters
    ----------
    tlp
        The packet.
    bar_id, func_num
        Of a request received: the BAR that matched and the function.
    error
        Of a completion received: a :class:`~testbench.tlp.CompletionErrorCode`.
    """

    tlp: Tlp
    bar_id: int = 0
    func_num: int = 0
    error: int = 0


class TlpAssembler:
    """Collects beats into :class:`TlpPacket` objects and checks sop, eop, strb and hdr."""

    def __init__(self, name: str, data_width: int) -> None:
        self.name = name
        self.lanes = data_width // 32
        self._full = (1 << self.lanes) - 1
        self._first: Beat | None = None
        self._payload = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a packet has begun and not ended."""
        return self._first is not None

    def reset(self) -> None:
        """Forget a packet that has begun."""
        self._first = None

    def feed(self, beat: Beat) -> TlpPacket | None:
        """Take one beat; return the packet that it completes.

        Raises
        ------
        StreamError
            sop is missing or repeated, strb has a hole or stops before eop, hdr has bits set below
            a 3-dword header.
        """
        if beat["sop"]:
            if self._first is not None:
                raise StreamError(f"{self.name}: sop before the eop of the packet under way")
            header = beat["hdr"]
            if not header >> 125 & 1 and header & 0xFFFF_FFFF:
                raise StreamError(f"{self.name}: bits 31:0 of a 3-dword header are not zero")
            self._first = beat
            self._payload.clear()
        elif self._first is None:
            raise StreamError(f"{self.name}: a beat without sop outside a packet")
        strb = beat.get("strb", 0)
        if strb & strb + 1:
            raise StreamError(f"{self.name}: strb {strb:#b} is not dwords from lane 0 up")
        if not beat["eop"] and strb != self._full:
            raise StreamError(f"{self.name}: strb {strb:#b} leaves lanes empty before eop")
        if not beat["sop"] and not strb:
            raise StreamError(f"{self.name}: a beat after sop carries nothing")
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
    """Framing of a bundle; finds the data width from the design.

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
        # A bundle without data still moves whole headers, one to a beat.
        self.data_width = 32 if data is None else len(data)

    def beats(self, packet: TlpPacket) -> Iterator[Beat]:
        """The beats of ``packet``."""
        extra = {"bar_id": packet.bar_id, "func_num": packet.func_num, "error": packet.error}
        for beat in packet.tlp.beats(self.data_width):
            yield {**beat, **extra}

    def assembler(self, name: str) -> TlpAssembler:
        """A new assembler, which calls the stream ``name`` in its errors."""
        return TlpAssembler(name, self.data_width)


class TlpSource(StreamSource[TlpPacket]):
    """Drives :class:`TlpPacket` objects into a bundle; parameters as :class:`~.streams.Source`."""

    framing_type = TlpFraming


class TlpSink(StreamSink[TlpPacket]):
    """Takes :class:`TlpPacket` objects from a bundle; parameters as :class:`~.streams.Sink`."""

    framing_type = TlpFraming


class TlpWatcher(StreamWatcher[TlpPacket]):
    """Watches a bundle, either direction; parameters as :class:`~.streams.Watcher`."""

    framing_type = TlpFraming
