# SPDX-License-Identifier: BSD-2-Clause
"""The vfio-user server on plain memory, in a thread, without a simulation."""

import os
import socket
import tempfile
import threading
from pathlib import Path

from sim.vm.bridge.files import BlockingReadiness, run_alone
from sim.vm.bridge.stub import MemoryFunction
from sim.vm.vfio_user.client import Client
from sim.vm.vfio_user.server import VfioUserServer, listening

BAR_SIZES = {0: 0x4000, 1: 0x8000, 2: 0x1000}
VECTORS = 4


class StopError(Exception):
    """Ends the server at the end of a test."""


class MemoryServer:
    """``with MemoryServer() as server: client = server.client()``; raises the server's errors."""

    def __init__(self):
        self.function = MemoryFunction(BAR_SIZES, VECTORS)
        self.errors = []
        self.clients = []
        self.disconnected = threading.Event()
        self.failure = None

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="amp-")
        self.path = Path(self._folder.name) / "s"
        self._listening = listening(self.path)
        listener = self._listening.__enter__()
        self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._run, args=(listener,))
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop[0].close()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not end"
        self._stop[1].close()
        self._listening.__exit__(*error)
        self._folder.cleanup()
        if self.failure is not None:
            raise self.failure

    def client(self, **options):
        return Client(self.path, timeout_s=10, **options)

    def _run(self, listener):
        readiness = BlockingReadiness()
        readiness.watch(self._stop[1].fileno(), self._end)
        server = VfioUserServer(listener, self.function, readiness)
        server.on_error = self.errors.append
        server.on_client = self._client
        try:
            run_alone(server.run())
        except StopError:
            pass
        except BaseException as failure:
            self.failure = failure

    def _client(self, state, why):
        self.clients.append((state, why))
        if state == "disconnected":
            self.disconnected.set()

    def _end(self):
        raise StopError


def open_files():
    """The number of open files of this process."""
    return len(os.listdir("/proc/self/fd"))
