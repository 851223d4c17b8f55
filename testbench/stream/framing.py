# SPDX-License-Identifier: BSD-2-Clause
"""Common parts of valid/ready streams: framing of packets into beats, and sampling of signals.

:mod:`testbench.stream.valid_ready` transfers the beats; :mod:`testbench.stream.tlp` and
:mod:`testbench.stream.axis` define their framing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from cocotb.handle import LogicArrayObject, LogicObject
from cocotb.types import Logic
from cocotb.utils import get_sim_time
from cocotb_bus.bus import Bus

HIGH = Logic("1")

Beat = dict[str, int]
"""Values of one beat by signal name."""


class StreamError(AssertionError):
    """A stream violated its protocol; the text has the stream, the rule and the time in ns."""


class Assembler(Protocol):
    """Assembles the beats of one stream into packets."""

    @property
    def partial(self) -> bool:
        """Whether a packet is incomplete."""

    def feed(self, beat: Beat) -> Any | None:
        """Add one beat; return the packet that it completes.

        Raises
        ------
        StreamError
            The beat violates the framing.
        """

    def reset(self) -> None:
        """Drop an incomplete packet."""


class Framing(ABC):
    """Format of the beats of a stream.

    Parameters
    ----------
    valid, ready
        Names of the handshake signals, without the prefix.
    signals, optional
        Names of the required and of the optional payload signals.
    enables
        For a payload signal, the signal whose bits enable its parts; the parts are of equal width.
        A disabled part may be undefined; a signal without enabled parts may change while the beat
        waits.
    """

    def __init__(
        self,
        *,
        valid: str,
        ready: str,
        signals: tuple[str, ...],
        optional: tuple[str, ...] = (),
        enables: dict[str, str],
    ) -> None:
        self.valid = valid
        self.ready = ready
        self.signals = signals
        self.optional = optional
        self.enables = enables

    @abstractmethod
    def beats(self, packet: Any) -> Iterator[Beat]:
        """Yield the beats of ``packet``."""

    @abstractmethod
    def assembler(self, name: str) -> Assembler:
        """Create an assembler; its errors name the stream ``name``."""


class FramingType(Protocol):
    """A :class:`Framing` class that takes its widths from the design."""

    def __call__(self, dut: Any, prefix: str, /) -> Framing:
        """Create the framing of bundle ``prefix`` of ``dut``."""


PacketT = TypeVar("PacketT")


class Stream(Generic[PacketT]):
    """Base of source, sink and watcher: a bundle of signals with clock and reset.

    Attributes
    ----------
    framing_type
        Framing of packets into beats; set by subclasses.
    """

    framing_type: ClassVar[FramingType]

    def __init__(self, dut: Any, prefix: str, *, clk: Any = None, reset: Any = None) -> None:
        self.name = prefix
        self.framing = framing = self.framing_type(dut, prefix)
        self.clk: LogicObject = dut.clk if clk is None else clk
        self.reset: LogicObject | None = getattr(dut, "rst", None) if reset is None else reset
        self.bus = Bus(
            dut,
            prefix,
            [framing.valid, framing.ready, *framing.signals],
            optional_signals=list(framing.optional),
            case_insensitive=False,
        )
        self.valid: LogicObject = getattr(self.bus, framing.valid)
        self.ready: LogicObject = getattr(self.bus, framing.ready)
        self.fields: dict[str, Any] = {
            name: getattr(self.bus, name)
            for name in (*framing.signals, *framing.optional)
            if hasattr(self.bus, name)
        }
        # A one-bit enable is a scalar handle, which has no length.
        self._parts: dict[str, int] = {}
        for name, enable in framing.enables.items():
            if name in self.fields:
                handle = self.fields[enable]
                self._parts[name] = len(handle) if isinstance(handle, LogicArrayObject) else 1

    def _error(self, text: str) -> StreamError:
        return StreamError(f"{self.name}: {text} at {get_sim_time('ns'):.1f} ns")

    def _high(self, signal: LogicObject) -> bool:
        return signal.value == HIGH

    @property
    def in_reset(self) -> bool:
        """Whether reset is asserted."""
        return self.reset is not None and self._high(self.reset)

    async def _reset_over(self) -> None:
        if self.reset is not None and self.in_reset:
            await self.reset.falling_edge

    def _capture(self) -> Beat:
        """Sample the payload; disabled parts read zero."""
        beat: Beat = {}
        undefined: dict[str, str] = {}
        for name, signal in self.fields.items():
            value = signal.value
            try:
                beat[name] = int(value)
            except ValueError:
                undefined[name] = str(value)
        for name, bits in undefined.items():
            beat[name] = self._defined_parts(name, bits, beat)
        for name, enable in self.framing.enables.items():
            if name in beat and not beat[enable]:
                beat[name] = 0
        return beat

    def _defined_parts(self, name: str, bits: str, beat: Beat) -> int:
        enable = self.framing.enables.get(name)
        if enable not in beat:
            raise self._error(f"{name} is undefined while valid is asserted")
        parts = self._parts[name]
        width = len(bits) // parts
        result = 0
        for part in range(parts):
            if beat[enable] >> part & 1:
                chunk = bits[len(bits) - (part + 1) * width : len(bits) - part * width]
                if set(chunk) - {"0", "1"}:
                    raise self._error(f"part {part} of {name} is enabled and undefined")
                result |= int(chunk, 2) << part * width
        return result
