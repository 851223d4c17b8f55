# SPDX-License-Identifier: BSD-2-Clause
"""The user's terminal, shared by the guest's serial port and the virtio consoles.

The key Ctrl-A V selects which of them typed text goes to. All other keys after Ctrl-A are QEMU's.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator

from ...shown import shown

ESCAPE = b"\x01"
"""Ctrl-A."""
SWITCH = b"v"
POLL_S = 0.2
"""Interval of checks that the machine still runs."""
KEYS = (
    "Ctrl-A X ends the machine, Ctrl-A V sends typed text to the virtio console and back, "
    "Ctrl-A H lists more keys."
)


class KeySwitch:
    """Divides typed bytes between the serial port and the virtio consoles.

    Parameters
    ----------
    serial, console
        Called with the bytes for the serial port, and with the text for the consoles.
    switched
        Called after a switch; true if text goes to the consoles.
    """

    def __init__(
        self,
        serial: Callable[[bytes], None],
        console: Callable[[str], None],
        switched: Callable[[bool], None],
    ) -> None:
        self._serial = serial
        self._console = console
        self._switched = switched
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._to_console = False
        self._escaped = False

    def feed(self, data: bytes) -> None:
        """Process typed bytes."""
        for index in range(len(data)):
            self._key(data[index : index + 1])

    def _key(self, key: bytes) -> None:
        if self._escaped:
            self._escaped = False
            if key.lower() == SWITCH:
                self._to_console = not self._to_console
                self._switched(self._to_console)
            else:
                self._serial(ESCAPE + key)
        elif key == ESCAPE:
            self._escaped = True
        elif self._to_console:
            text = self._decoder.decode(key)
            # A terminal in raw mode sends CR for the Enter key.
            self._console(text.replace("\r", "\n"))
        else:
            self._serial(key)


class Terminal:
    """Connects the terminal with a machine, while :meth:`run` lasts.

    Parameters
    ----------
    type_text
        Called with text for the virtio consoles.
    """

    def __init__(self, type_text: Callable[[str], None]) -> None:
        self._type_text = type_text
        self._lock = threading.Lock()
        self._line_end = "\n"

    def output(self, data: bytes) -> None:
        """Write output of the serial port, unfiltered."""
        with self._lock:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def console(self, text: str) -> None:
        """Write output of a virtio console, line by line."""
        for line in text.removesuffix("\n").split("\n"):
            self._note(f"[virtio console] {shown(line.removesuffix(chr(13)), keep=chr(9))}")

    def run(
        self,
        serial: Callable[[bytes], None],
        is_running: Callable[[], bool],
        *,
        ends_with_input: bool = False,
    ) -> None:
        """Pass typed bytes on until the machine has ended.

        Parameters
        ----------
        serial
            Sends bytes to the serial port.
        is_running
            Whether the machine runs.
        ends_with_input
            Also return at the end of the input.
        """
        switch = KeySwitch(serial, self._type_text, self._note_switch)
        with self._raw():
            is_open = True
            while is_running() and (is_open or not ends_with_input):
                if not select.select([0] if is_open else [], (), (), POLL_S)[0]:
                    continue
                # In the background, a read of the terminal fails with EIO.
                data = b""
                with contextlib.suppress(OSError):
                    data = os.read(0, 1 << 10)
                is_open = bool(data)
                with contextlib.suppress(OSError):
                    switch.feed(data)

    def _note_switch(self, to_console: bool) -> None:
        place = "virtio console" if to_console else "serial port"
        self._note(f"[typed text goes to the {place}]")

    def _note(self, line: str) -> None:
        self.output(f"{line}{self._line_end}".encode(errors="replace"))

    @contextlib.contextmanager
    def _raw(self) -> Iterator[None]:
        """The terminal passes each key on at once, if the input is a terminal."""
        if not os.isatty(0):
            yield
            return
        saved = termios.tcgetattr(0)
        tty.setraw(0)
        self._line_end = "\r\n"
        try:
            yield
        finally:
            self._line_end = "\n"
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
