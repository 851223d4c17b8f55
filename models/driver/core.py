# SPDX-License-Identifier: BSD-2-Clause
"""Driver side of one bus: discovery, and bring-up of devices.

Source: the behaviour of the Linux driver that belongs to the patch series.
"""

from __future__ import annotations

from ..bus import DriverBus
from ..messages import Dialect
from ..runtime import Runtime
from .device import RemoteDevice
from .errors import NoDeviceError, ProtocolError
from .exchange import TIMEOUT_US, Exchange, device_numbers
from .info import DeviceInfo
from .rings import RingAllocator

DISCOVERY_WINDOW = 32
"""Device numbers per BUS_GET_DEVICES. A device of the patch series always answers for 32."""
DEVICE_NUMBERS = 0x1_0000
"""Number of possible devices: dev_num has 16 bits."""


class Driver(Exchange):
    """Driver of a bus; ``async with Driver(bus, runtime) as driver: ...`` starts and stops it.

    Parameters are those of :class:`~models.driver.exchange.Exchange`.

    Attributes
    ----------
    rings
        Default allocator of rings in :meth:`probe`.
    """

    def __init__(
        self,
        bus: DriverBus,
        runtime: Runtime,
        *,
        revision: str | Dialect = "v1",
        timeout_us: float = TIMEOUT_US,
        pipelined: bool = False,
    ) -> None:
        super().__init__(
            bus, runtime, revision=revision, timeout_us=timeout_us, pipelined=pipelined
        )
        self.rings = RingAllocator()

    async def ping(self, data: int = 0) -> None:
        """Send BUS_PING and check the data of the response.

        Raises
        ------
        ProtocolError
            The response has other data.
        """
        response = await self.request("BUS_PING", data=data)
        if response.number("data") != data:
            raise ProtocolError(f"BUS_PING: data is {response.number('data')}: must be {data}")

    async def discover(self) -> list[int]:
        """Return the numbers of all devices, ascending, possibly with gaps.

        A removed device that is found again accepts requests, even if its ADDED event was lost.

        Raises
        ------
        ProtocolError
            A response is for other device numbers than requested, or the scan would never end.
        """
        found: list[int] = []
        offset = 0
        while True:
            count = min(DISCOVERY_WINDOW, DEVICE_NUMBERS - offset)
            response = await self.request("BUS_GET_DEVICES", offset=offset, num=count)
            num, next_offset = response.number("num"), response.number("next_offset")
            if response.number("offset") != offset:
                raise ProtocolError(
                    f"BUS_GET_DEVICES: offset is {response.number('offset')}: must be {offset}"
                )
            if num > count:
                raise ProtocolError(f"BUS_GET_DEVICES: num is {num}: must be at most {count}")
            found += device_numbers(response)
            if next_offset == 0:
                return found
            if next_offset <= offset:
                raise ProtocolError(
                    f"BUS_GET_DEVICES: next_offset is {next_offset}: must be 0 or above {offset}"
                )
            offset = next_offset

    async def device_info(self, dev_num: int) -> DeviceInfo:
        """Read the information of device ``dev_num``.

        Raises
        ------
        NoDeviceError
            The device ID is 0: there is no device.
        """
        response = await self.request("DEVICE_INFO", dev_num=dev_num)
        info = DeviceInfo.from_message(response)
        if info.device_id == 0:
            raise NoDeviceError(f"device {dev_num}: device_id is 0")
        return info

    async def device(self, dev_num: int) -> RemoteDevice:
        """Make a :class:`RemoteDevice` of device ``dev_num`` without changing the device."""
        return RemoteDevice(self, dev_num, await self.device_info(dev_num))

    async def probe(
        self,
        dev_num: int,
        *,
        features: int = 0,
        num_queues: int | None = None,
        rings: RingAllocator | None = None,
    ) -> RemoteDevice:
        """Bring device ``dev_num`` up to DRIVER_OK.

        The messages and their order are those of the Linux driver: device info; reset, ACKNOWLEDGE,
        DRIVER; features, FEATURES_OK; each queue; DRIVER_OK.

        Parameters
        ----------
        dev_num
            Device number.
        features
            Mask of the device type's features that the driver supports. Those that the device
            offers are selected.
        num_queues
            Number of queues to set up; all queues by default.
        rings
            Allocator of the rings; :attr:`rings` by default.

        Raises
        ------
        DriverError
            A step failed. FAILED is then set if the device still responds.
        """
        device = await self.device(dev_num)
        try:
            await device.bring_up(
                features=features, num_queues=num_queues, rings=rings or self.rings
            )
        except BaseException:
            device.close()
            raise
        return device
