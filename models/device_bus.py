# SPDX-License-Identifier: BSD-2-Clause
"""Device side of an endpoint: one port feeds a transport per FIFO.

A separate task handles the messages of each FIFO, so that a FIFO whose driver does not read its
responses does not block the others. The endpoint bounds the messages between the port and a task:
it pops a FIFO only while the FIFO's device queue has space.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from .bus import DevicePort, Direction
from .devices import VirtioDevice
from .dma import Dma
from .messages import Dialect
from .notifier import UsedNotifier
from .observers import Observers
from .runtime import Runtime, Task
from .transport import Transport


class DeviceBus:
    """All devices of an endpoint.

    Parameters
    ----------
    port
        Message streams of the endpoint.
    devices_by_fifo
        Devices by number, one entry per FIFO.
    runtime
        Tasks and events.
    dma
        Host memory. Without it the devices answer messages but have no data path.
    revision
        Wire revision, by name or as an object.

    Attributes
    ----------
    transports
        Transport of each FIFO.
    notifiers
        Sender of used-buffer notifications of each FIFO.
    observers
        Called for each message: when the port has delivered it, or before the port accepts it.
    """

    def __init__(
        self,
        port: DevicePort,
        devices_by_fifo: Sequence[Mapping[int, VirtioDevice]],
        runtime: Runtime,
        *,
        dma: Dma | None = None,
        revision: str | Dialect = "v1",
    ) -> None:
        self.observers = Observers[[Direction, int, bytes]]("messages at the device side")
        self._port = port
        self._runtime = runtime
        self._tasks: list[Task] = []
        self.transports = [
            Transport(devices, _Sender(self, fifo), revision)
            for fifo, devices in enumerate(devices_by_fifo)
        ]
        self.notifiers = [
            UsedNotifier(self._notify_used(fifo), runtime) for fifo in range(len(self.transports))
        ]
        self._dma = dma
        for fifo, transport in enumerate(self.transports):
            for number, device in transport.devices.items():
                self._attach(fifo, number, device)
        self._inboxes = [deque[bytes]() for _ in devices_by_fifo]
        self._arrived = [runtime.event() for _ in devices_by_fifo]

    def start(self) -> None:
        """Start receiving messages from the port."""
        if not self._tasks:
            self._tasks = [self._runtime.spawn(self._receive())]
            self._tasks += [notifier.start() for notifier in self.notifiers]
            for fifo in range(len(self.transports)):
                self._tasks.append(self._runtime.spawn(self._serve(fifo)))

    def stop(self) -> None:
        """Stop. Messages received but not yet handled are lost."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        for inbox in self._inboxes:
            inbox.clear()

    def reset(self) -> None:
        """Function reset: drop pending messages and notifications, and reset every device."""
        for inbox in self._inboxes:
            inbox.clear()
        for notifier in self.notifiers:
            notifier.clear()
        for transport in self.transports:
            transport.reset()

    async def plug(self, fifo: int, device: VirtioDevice, number: int | None = None) -> int:
        """Add a device behind ``fifo`` and announce it, as :meth:`Transport.plug` does."""
        transport = self.transports[fifo]
        number = transport.add(device, number)
        self._attach(fifo, number, device)
        await transport.announce(number)
        return number

    async def unplug(self, fifo: int, dev_num: int) -> VirtioDevice:
        """Remove a device behind ``fifo``, as :meth:`Transport.unplug` does."""
        self.notifiers[fifo].cancel(dev_num)
        return await self.transports[fifo].unplug(dev_num)

    def _attach(self, fifo: int, number: int, device: VirtioDevice) -> None:
        if self._dma is not None:
            notifier, transport = self.notifiers[fifo], self.transports[fifo]
            name = f"device {number} of FIFO {fifo}"
            link = _Link(name, device, transport, notifier, number, self._dma, self._runtime)
            with transport.contain(device):
                device.attach(link)

    def _notify_used(self, fifo: int) -> Callable[[int, int], Awaitable[None]]:
        transport = self.transports[fifo]

        async def notify(dev_num: int, queue: int) -> None:
            # The device may have been removed since its buffers were used.
            device = transport.devices.get(dev_num)
            if device is None:
                return
            with transport.contain(device):
                await transport.notify_used(dev_num, queue)
                return
            await transport.notify_failure(device)

        return notify

    async def send(self, fifo: int, message: bytes) -> None:
        """Send a message to the driver of ``fifo``."""
        self.observers.notify(Direction.TO_DRIVER, fifo, message)
        await self._port.send(fifo, message)

    async def _receive(self) -> None:
        while True:
            fifo, slot = await self._port.receive()
            self.observers.notify(Direction.TO_DEVICE, fifo, slot)
            self._inboxes[fifo].append(slot)
            self._arrived[fifo].set()

    async def _serve(self, fifo: int) -> None:
        inbox, arrived = self._inboxes[fifo], self._arrived[fifo]
        while True:
            await arrived.wait()
            arrived.clear()
            while inbox:
                await self.transports[fifo].receive(inbox.popleft())


class _Link:
    """:class:`~models.devices.DeviceLink` of one device."""

    def __init__(
        self,
        name: str,
        device: VirtioDevice,
        transport: Transport,
        notifier: UsedNotifier,
        dev_num: int,
        dma: Dma,
        runtime: Runtime,
    ) -> None:
        self.name = name
        self.dma = dma
        self.runtime = runtime
        self._device = device
        self._transport = transport
        self._notifier = notifier
        self._dev_num = dev_num

    def notify_used(self, queue: int) -> None:
        """Implement :meth:`DeviceLink.notify_used`."""
        self._notifier.request(self._dev_num, queue)

    def cancel_used(self, queue: int) -> None:
        """Implement :meth:`DeviceLink.cancel_used`."""
        self._notifier.cancel(self._dev_num, queue)

    async def notify_config(self) -> None:
        """Implement :meth:`DeviceLink.notify_config`. No effect once the device is removed."""
        if self._transport.devices.get(self._dev_num) is self._device:
            await self._transport.notify_config(self._dev_num)


class _Sender:
    """Callable that sends the messages of one FIFO's transport."""

    def __init__(self, device_side: DeviceBus, fifo: int) -> None:
        self._device_side = device_side
        self._fifo = fifo

    async def __call__(self, message: bytes) -> None:
        await self._device_side.send(self._fifo, message)
