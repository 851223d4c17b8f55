# SPDX-License-Identifier: BSD-2-Clause
"""Files of messages and accesses with a bound: a soak writes gigabytes of them.

The server writes to a named pipe. A thread copies its data to a file, and at the bound starts the
file again; the part before has the suffix ``.old``.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from pathlib import Path
from types import TracebackType

LIMIT_BYTES = 256 << 20
"""Most bytes of a file; its older part has as many."""
PIECE = 1 << 16


class BoundedFile:
    """A pipe whose data goes to a file, while the context lasts.

    Parameters
    ----------
    pipe
        Path of the pipe, which is made. The server opens it for writing.
    path
        Path of the file.
    limit_bytes
        Most bytes of the file.
    """

    def __init__(self, pipe: Path, path: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.pipe = pipe
        self._path = path
        self._limit_bytes = limit_bytes
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def __enter__(self) -> BoundedFile:
        os.mkfifo(self.pipe)
        # Open for both, so that neither an open of the other end blocks nor its close ends it.
        self._descriptor = os.open(self.pipe, os.O_RDWR)
        self._end_read, self._end_write = os.pipe()
        self._file = self._path.open("wb")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._end_write)
        self._thread.join()
        self._file.close()
        os.close(self._end_read)
        os.close(self._descriptor)
        self.pipe.unlink()

    def _copy(self) -> None:
        """Copy until the end of the context, and then what is left in the pipe."""
        poll = select.poll()
        for descriptor in (self._descriptor, self._end_read):
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._descriptor in ready:
                self._write(os.read(self._descriptor, PIECE))
            elif self._end_read in ready:
                return

    def _write(self, data: bytes) -> None:
        # Without space on the disk the simulation continues.
        with contextlib.suppress(OSError):
            head, end, rest = data.rpartition(b"\n")
            if end and self._file.tell() + len(data) > self._limit_bytes:
                self._file.write(head + end)
                self._file.close()
                self._path.replace(self._path.with_name(self._path.name + ".old"))
                self._file = self._path.open("wb")
                data = rest
            self._file.write(data)
            self._file.flush()
