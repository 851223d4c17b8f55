# SPDX-License-Identifier: BSD-2-Clause
"""The compiled endpoint for Python: what goes in as calls, what comes out as listeners.

ctypes rather than cffi: the interface has ten functions, and ctypes needs no package. A call takes
about a microsecond; the records of a run come in one buffer.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from .library import Library

RECORD = struct.Struct("<BBHIQ")
"""Kind, detail, reserved, bytes that follow, cycle; records are padded to :data:`ALIGNMENT`."""
ALIGNMENT = 8
HEADER_BYTES = 16
FOREVER = (1 << 64) - 1
BATCH_CYCLES = 1 << 20
"""Longest run without a limit: Python handles signals between two runs."""


class Kind(IntEnum):
    """What a record reports; the numbers of ``Kind`` in harness.cpp."""

    TLP_SENT = 1
    TLP_ACCEPTED = 2
    MESSAGE_SENT = 3
    MESSAGE_ACCEPTED = 4
    READ_DONE = 5
    WRITE_DONE = 6
    HOST_RESET = 7
    QUEUE_READY = 8
    STREAM_ERROR = 9


class StreamProtocolError(RuntimeError):
    """The gateware violated the protocol of a stream; the text names it."""


class _Status(ctypes.Structure):
    _fields_ = (
        ("records", ctypes.c_void_p),
        ("size", ctypes.c_uint64),
        ("cycle", ctypes.c_uint64),
        ("idle", ctypes.c_uint64),
    )


Listener = Callable[[int, bytes], None]
"""Called with the detail and the bytes of a record."""


class NativeEndpoint:
    """An instance of the compiled gateware.

    Parameters
    ----------
    library
        The library.
    waves
        File of waves, for a library with waves.
    window
        First and last cycle in the waves.

    Attributes
    ----------
    cycle
        Clock cycles so far; while listeners are called, the cycle of their record.
    idle
        Cycles since anything moved at a port.
    listeners
        By kind; every kind has one.
    """

    def __init__(
        self,
        library: Library,
        *,
        waves: Path | None = None,
        window: tuple[int, int] = (0, FOREVER),
    ) -> None:
        self._functions = functions = _functions(library)
        self._values = library.values
        self.cycle = 0
        self.idle = 0
        self.listeners: dict[int, Listener] = {kind: lambda detail, data: None for kind in Kind}
        self.listeners[Kind.STREAM_ERROR] = _raise_stream_error
        self._status = _Status()
        self._status_pointer = ctypes.byref(self._status)
        path = None if waves is None else str(waves).encode()
        self._pointer = functions.amp_new(path, *window)

    def close(self) -> None:
        """Finish the waves, and free the memory."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            self._functions.amp_delete(pointer)

    def reset(self, cycles: int) -> None:
        """Hold ``rst`` for the next ``cycles`` cycles; drops all that waits to enter."""
        self._functions.amp_reset(self._pointer, cycles)

    def send_tlp(self, header: int, payload: bytes, *, wakes: bool = False) -> None:
        """Queue a packet.

        Parameters
        ----------
        header
            As on ``rx_tlp_hdr``.
        payload
            Whole dwords.
        wakes
            Its acceptance ends a run.
        """
        packed = header.to_bytes(HEADER_BYTES, "little")
        self._functions.amp_send_tlp(self._pointer, packed, payload, len(payload) // 4, wakes)

    def wake_when_drained(self) -> None:
        """End a run once all packets are accepted."""
        self._functions.amp_wake_when_drained(self._pointer)

    def send_message(self, fifo: int, message: bytes) -> None:
        """Queue a message to the driver."""
        self._functions.amp_send_message(self._pointer, fifo, message, len(message))

    def read(self, address: int, size: int) -> None:
        """Queue a read of ``size`` bytes, 1 or more, through the DMA window."""
        self._functions.amp_read(self._pointer, address, size)

    def write(self, address: int, data: bytes) -> None:
        """Queue a write of ``data``, 1 byte or more, through the DMA window."""
        self._functions.amp_write(self._pointer, address, data, len(data))

    def value(self, port: str) -> int:
        """Present value of an output of up to 64 bits.

        Raises
        ------
        KeyError
            The top has no such port.
        """
        return int(self._functions.amp_value(self._pointer, self._values[port]))

    def run(self, cycles: int, idle: int = FOREVER) -> bool:
        """Run until something has happened that wakes, and call the listeners.

        A packet of data from the endpoint, for example, does not: its record is read with that of
        the interrupt or answer that follows, or at the end of the run.

        Parameters
        ----------
        cycles
            Most cycles.
        idle
            End once nothing has moved at any port for this number of cycles.

        Returns
        -------
        bool
            Something has happened.
        """
        status = self._status
        size = self._functions.amp_run(self._pointer, cycles, idle, self._status_pointer)
        self.idle = status.idle
        if not size:
            self.cycle = status.cycle
            return False
        end = status.cycle
        records = ctypes.string_at(status.records, size)
        listeners, unpack = self.listeners, RECORD.unpack_from
        at = 0
        while at < size:
            kind, detail, _, length, self.cycle = unpack(records, at)
            at += RECORD.size
            listeners[kind](detail, records[at : at + length])
            at += length + -length % ALIGNMENT
        self.cycle = end
        return True


def _raise_stream_error(detail: int, data: bytes) -> None:
    raise StreamProtocolError(data.decode())


def _functions(library: Library) -> ctypes.CDLL:
    functions = ctypes.CDLL(str(library.path))
    pointer, number = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("amp_new", pointer, (ctypes.c_char_p, number, number)),
        ("amp_delete", None, (pointer,)),
        ("amp_reset", None, (pointer, ctypes.c_uint)),
        (
            "amp_send_tlp",
            None,
            (pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_bool),
        ),
        ("amp_wake_when_drained", None, (pointer,)),
        ("amp_send_message", None, (pointer, ctypes.c_uint8, ctypes.c_char_p, ctypes.c_uint)),
        ("amp_read", None, (pointer, number, number)),
        ("amp_write", None, (pointer, number, ctypes.c_char_p, number)),
        ("amp_run", number, (pointer, number, number, pointer)),
        ("amp_value", number, (pointer, ctypes.c_uint)),
    ):
        function = getattr(functions, name)
        function.restype, function.argtypes = result, arguments
    return functions
