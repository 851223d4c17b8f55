# SPDX-License-Identifier: BSD-2-Clause
"""The device side's messages: AXI4-Stream packets with the FIFO's number in tdest.

Signals: ``<prefix>_tdata[W]``, ``_tkeep[W/8]``, ``_tvalid``, ``_tready``, ``_tlast``,
``_tdest[3]``. Rules follow AMBA AXI4-Stream (ARM IHI 0051A) sections 2.2 and 2.4: byte 0 in bits
7:0; tkeep contiguous from lane 0, and full except on the last transfer; tdest constant within a
packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from .framing import Beat, Framing, StreamError
from .valid_ready import StreamSink, StreamSource, StreamWatcher


class AxisMessage(NamedTuple):
    """One packet: FIFO number and bytes."""

    fifo: int
    data: bytes

    def beats(self, data_width: int) -> Iterator[Beat]:
        """The transfers on a stream ``data_width`` bits wide.

        Raises
        ------
        ValueError
            The message is empty.
        """
        step = data_width // 8
        if not self.data:
            raise ValueError("message has 0 bytes: must be 1 or more")
        for start in range(0, len(self.data), step):
            chunk = self.data[start : start + step]
            yield {
                "tdata": int.from_bytes(chunk, "little"),
                "tkeep": (1 << len(chunk)) - 1,
                "tlast": int(start + step >= len(self.data)),
                "tdest": self.fifo,
            }


class AxisAssembler:
    """Assembles transfers into messages; checks tkeep and tdest."""

    def __init__(self, name: str, data_width: int) -> None:
        self.name = name
        self._full = (1 << data_width // 8) - 1
        self._fifo: int | None = None
        self._data = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a packet is incomplete."""
        return self._fifo is not None

    def reset(self) -> None:
        """Drop an incomplete packet."""
        self._fifo = None

    def feed(self, beat: Beat) -> AxisMessage | None:
        """Add one transfer; return the message that it completes.

        Raises
        ------
        StreamError
            tkeep has a hole, or is not full before tlast; tdest changed within the packet.
        """
        if self._fifo is None:
            self._fifo = beat["tdest"]
            self._data.clear()
        elif self._fifo != beat["tdest"]:
            raise StreamError(
                f"{self.name}: tdest changed from {self._fifo} to {beat['tdest']} within a packet"
            )
        keep = beat["tkeep"]
        if not keep or keep & keep + 1:
            raise StreamError(f"{self.name}: tkeep {keep:#x} is not contiguous from lane 0")
        if not beat["tlast"] and keep != self._full:
            raise StreamError(f"{self.name}: tkeep {keep:#x} is not full before tlast")
        count = keep.bit_length()
        self._data += (beat["tdata"] & (1 << 8 * count) - 1).to_bytes(count, "little")
        if not beat["tlast"]:
            return None
        fifo, self._fifo = self._fifo, None
        return AxisMessage(fifo, bytes(self._data))


class AxisFraming(Framing):
    """Framing of an AXI4-Stream of messages; takes the data width from the design."""

    def __init__(self, dut: Any, prefix: str) -> None:
        super().__init__(
            valid="tvalid",
            ready="tready",
            signals=("tdata", "tkeep", "tlast", "tdest"),
            enables={"tdata": "tkeep"},
        )
        self.data_width = len(getattr(dut, f"{prefix}_tdata"))

    def beats(self, packet: AxisMessage) -> Iterator[Beat]:
        """Yield the transfers of ``packet``."""
        return packet.beats(self.data_width)

    def assembler(self, name: str) -> AxisAssembler:
        """Create an assembler; its errors name the stream ``name``."""
        return AxisAssembler(name, self.data_width)


class AxisMessageSource(StreamSource[AxisMessage]):
    """Drives messages to the driver into the design, by default on ``s_axis_msg``.

    Parameters are those of :class:`~testbench.stream.valid_ready.StreamSource`.
    """

    framing_type = AxisFraming

    def __init__(self, dut: Any, prefix: str = "s_axis_msg", **options: Any) -> None:
        super().__init__(dut, prefix, **options)

    async def send_message(self, fifo: int, data: bytes) -> None:
        """Send ``data`` to FIFO ``fifo``; return when the design has accepted the last byte."""
        await self.send(AxisMessage(fifo, data))


class AxisMessageSink(StreamSink[AxisMessage]):
    """Receives messages from the driver out of the design, by default on ``m_axis_msg``.

    Parameters are those of :class:`~testbench.stream.valid_ready.StreamSink`.
    """

    framing_type = AxisFraming

    def __init__(self, dut: Any, prefix: str = "m_axis_msg", **options: Any) -> None:
        super().__init__(dut, prefix, **options)


class AxisMessageWatcher(StreamWatcher[AxisMessage]):
    """Watches a stream of messages, in either direction.

    Parameters are those of :class:`~testbench.stream.valid_ready.StreamWatcher`.
    """

    framing_type = AxisFraming
