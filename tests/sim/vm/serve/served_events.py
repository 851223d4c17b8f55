# SPDX-License-Identifier: BSD-2-Clause
"""A served build of the gateware, with events that a test can wait for."""

import contextlib
import queue
import socket
import threading
import time

from builds import build_configuration, first_simulator
from vfio_host import socket_folder, socket_in

from sim.vm.serve.server import Server


class Served:
    """A server and the queue of its events."""

    def __init__(self, server, control):
        self.server = server
        self.path = server.path
        self.control = control
        self.events = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for event in self.server.events():
            self.events.put(event)

    def stop(self):
        self.server.stop()
        self._reader.join()

    def drain(self):
        """Yield the queued events."""
        while not self.events.empty():
            yield self.events.get()

    def discard_events(self):
        list(self.drain())

    def next(self, kind, timeout_s=10):
        """Wait for the next event of a kind."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = self.events.get(timeout=deadline - time.monotonic())
            if event["kind"] == kind:
                return event

    def script(self, *lines):
        """Send lines to the control socket; returns the lines of the answers."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.control))
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode().splitlines()


@contextlib.contextmanager
def serving(devices, folder, **options):
    """Serve ``devices`` on the first installed simulator."""
    with contextlib.ExitStack() as stack:
        path = socket_in(stack.enter_context(socket_folder()))
        control = path.with_name("control")
        server = Server(
            build_configuration(simulator=first_simulator()),
            path,
            devices,
            folder=folder,
            control=control,
            quiet=True,
            **options,
        )
        served = Served(stack.enter_context(server), control)
        stack.callback(served.stop)
        yield served
    server.check()
