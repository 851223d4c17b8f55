# SPDX-License-Identifier: BSD-2-Clause
"""Recognizes drivers of another layout or dialect: a line of text instead of 100 s of silence.

Such a driver gets no response that it can decode, and waits. Its signs are a read of the shared
RAM, its first message, or its reaction to a response. Each sign is reported once per client.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterable

from models.layout import SharedLayout
from models.messages import Dialect, MessageError, MessageKind, MessageLayout
from models.messages.layouts import HEADER, HEADER_SIZE, TYPE_BUS, TYPE_RESPONSE
from models.shell import PciShell

from ..bridge.files import CallLater

SILENCE_S = 5.0
"""Time in which a driver that has received a list of devices must send a request to one."""
MAGIC_SIZE = 2
"""Bytes of the self-describing area's magic, at the offset of a driver queue's head."""
OLD_HEADER = struct.Struct("<BBHH")
"""Message header of July 2025: type, msg_id, dev_num, msg_size; no token."""
OLD_QUEUE_MESSAGE_SIZE = 44
"""Bytes of SET_VQUEUE in autumn 2025."""


class DriverHints:
    """Searches accesses and messages for signs of other drivers.

    Parameters
    ----------
    report
        Called with a line of text for each sign.
    dialect
        Dialect of the bus.
    others
        Dialects that a driver may use instead; the bus's own is ignored.
    shell, layout, num_fifos
        PCI shell, layout and number of FIFOs of the endpoint.
    now
        Returns the time in seconds.

    Attributes
    ----------
    call_later
        Schedules a call, as :meth:`~sim.vm.bridge.files.Readiness.call_later`, so that a silent
        driver is reported although nothing happens.
    """

    def __init__(
        self,
        report: Callable[[str], None],
        dialect: Dialect,
        others: Iterable[Dialect],
        shell: PciShell,
        layout: SharedLayout,
        num_fifos: int,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.call_later: CallLater = lambda delay_s, listener: None
        self._report = report
        self._now = now
        self._dialect = dialect
        self._others = [other for other in others if other.revision != dialect.revision]
        self._shell = shell
        self._layout = layout
        self._magic_offsets = {layout.driver_queue_base(fifo): fifo for fifo in range(num_fifos)}
        self._reported: set[str] = set()
        # For each FIFO whose driver has received a list of devices and sent no request to any: the
        # next_offset that other dialects decode from the response, and the time of the response.
        self._misread: dict[int, dict[int, list[str]]] = {}
        self._response_times: dict[int, float] = {}
        self._timers: set[int] = set()

    def reset(self) -> None:
        """Start over for another client, with another driver."""
        self._reported.clear()
        self._misread.clear()

    def read(self, bar: int, offset: int, size: int) -> None:
        """Examine a read of a BAR."""
        fifo = self._magic_offsets.get(offset)
        if bar == self._shell.fifo_bar and size == MAGIC_SIZE and fifo is not None:
            self._report_once(
                "layout",
                fifo,
                f"the driver reads {size} bytes at BAR{bar} + {offset:#x}, the magic of the "
                f"self-describing area: it does not support the layout {self._layout.name}, and "
                "sends nothing",
            )

    def to_device(self, fifo: int, raw: bytes) -> None:
        """Examine a message from a driver."""
        try:
            message = self._dialect.decode(raw)
        except MessageError:
            self._examine_undecodable(fifo, raw)
            return
        if message.role == "BUS_GET_DEVICES" and message.kind is MessageKind.REQUEST:
            self._check_next_offset(fifo, message.number("offset"))
        elif not message.bus:
            self._misread.pop(fifo, None)

    def to_driver(self, fifo: int, raw: bytes) -> None:
        """Examine a message to a driver: other dialects may decode a response differently."""
        try:
            message = self._dialect.decode(raw)
        except MessageError:
            return
        is_device_list = message.role == "BUS_GET_DEVICES" and message.kind is MessageKind.RESPONSE
        if not is_device_list or not any(bytes(message.bitmap)):
            return
        found: dict[int, list[str]] = {}
        for other in self._others:
            try:
                next_offset = other.decode(raw).number("next_offset")
            except MessageError:
                continue
            if next_offset != message.number("next_offset"):
                found.setdefault(next_offset, []).append(other.revision)
        if found:
            self._misread[fifo] = found
            self._response_times[fifo] = self._now()
            self._set_timer(fifo)

    def check_silence(self, fifo: int) -> None:
        """Report the driver of ``fifo`` if it has been silent since it received the list."""
        if fifo not in self._misread:
            return
        if self._now() < self._response_times[fifo] + SILENCE_S:
            self._set_timer(fifo)
            return
        misread = self._misread.pop(fifo).values()
        others = " or ".join(revision for revisions in misread for revision in revisions)
        self._report_once(
            "revision",
            fifo,
            f"the driver has requested the list of devices, and sent no request to a device for "
            f"{SILENCE_S:g} s: a driver that speaks {others} finds none in a response of "
            f"{self._dialect.revision}",
        )

    def _set_timer(self, fifo: int) -> None:
        # At most one reminder per FIFO, however often the driver requests the list.
        if fifo not in self._timers:
            self._timers.add(fifo)
            delay_s = self._response_times[fifo] + SILENCE_S - self._now()
            self.call_later(delay_s, lambda: self._on_timer(fifo))

    def _on_timer(self, fifo: int) -> None:
        self._timers.discard(fifo)
        self.check_silence(fifo)

    def _check_next_offset(self, fifo: int, offset: int) -> None:
        revisions = self._misread.pop(fifo, {}).get(offset, [])
        if revisions and offset:
            other = " or ".join(revisions)
            self._report_once(
                "revision",
                fifo,
                f"the driver requests devices from {offset} on, the next_offset that {other} reads "
                f"in a response of {self._dialect.revision}: it speaks {other}, see --revision",
            )

    def _examine_undecodable(self, fifo: int, raw: bytes) -> None:
        if len(raw) < HEADER_SIZE:
            return
        type_bits, msg_id, _, _, size = HEADER.unpack_from(raw)
        layout = self._request_layout(type_bits, msg_id)
        if layout is not None and layout.role == "SET_VQUEUE" and size == OLD_QUEUE_MESSAGE_SIZE:
            self._report_once(
                "44 bytes",
                fifo,
                f"{layout.name} has {size} bytes, as in the dialect of autumn 2025: the driver "
                f"gets no response, {self._dialect.revision} has {layout.min_size}",
            )
        elif layout is not None and self._has_old_header(layout, raw, size):
            self._report_once(
                "6 bytes",
                fifo,
                f"{layout.name} has a header of {OLD_HEADER.size} bytes, as in the dialect of July "
                f"2025: the driver gets no response, {self._dialect.revision} has {HEADER_SIZE}",
            )
        else:
            self._examine_in_other_dialects(fifo, raw)

    def _examine_in_other_dialects(self, fifo: int, raw: bytes) -> None:
        found = []
        for other in self._others:
            with contextlib.suppress(MessageError):
                message = other.decode(raw)
                if message.kind is not MessageKind.RESPONSE:
                    found.append((other.revision, message))
        if found:
            others = " or ".join(revision for revision, _ in found)
            message = found[0][1]
            self._report_once(
                "message",
                fifo,
                f"{message.name} of {message.msg_size} bytes is a message of {others}, not of "
                f"{self._dialect.revision}",
            )

    def _request_layout(self, type_bits: int, msg_id: int) -> MessageLayout | None:
        bus, response = bool(type_bits & TYPE_BUS), bool(type_bits & TYPE_RESPONSE)
        for layout in self._dialect.messages:
            if (layout.bus, layout.msg_id) == (
                bus,
                msg_id,
            ) and layout.kind is not MessageKind.RESPONSE:
                return None if response else layout
        return None

    def _has_old_header(self, layout: MessageLayout, raw: bytes, size: int) -> bool:
        """Whether the size is valid at its offset in the old header, but not in the current one."""
        *_, old_size = OLD_HEADER.unpack_from(raw)
        min_size = layout.min_size - HEADER_SIZE + OLD_HEADER.size
        fits = old_size >= min_size if layout.arrays else old_size == min_size
        return fits and old_size <= len(raw) and not layout.min_size <= size

    def _report_once(self, sign: str, fifo: int, text: str) -> None:
        if sign not in self._reported:
            self._reported.add(sign)
            self._report(f"FIFO {fifo}: {text}")
