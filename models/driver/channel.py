# SPDX-License-Identifier: BSD-2-Clause
"""Requests to one device."""

from __future__ import annotations

from ..messages import Dialect, Message
from .errors import ProtocolError
from .exchange import Exchange

ECHOED = ("index", "offset", "shmid")
"""Fields of a response that must equal those of the request."""


class DeviceChannel:
    """Requests to one device over an :class:`~models.driver.exchange.Exchange`.

    Parameters
    ----------
    exchange
        Exchange of messages on the bus.
    dev_num
        Device number.
    """

    def __init__(self, exchange: Exchange, dev_num: int) -> None:
        self.exchange = exchange
        self.dev_num = dev_num

    @property
    def dialect(self) -> Dialect:
        """Wire revision with the parameters of the bus."""
        return self.exchange.dialect

    async def request(self, name: str, **fields: object) -> Message:
        """Send a request and check the echoed fields of its response.

        Raises
        ------
        ProtocolError
            An echoed field differs from the request.
        """
        response = await self.exchange.request(name, dev_num=self.dev_num, **fields)
        for field in ECHOED:
            if field in fields and response.layout.has(field):
                found = response.number(field)
                if found != fields[field]:
                    raise ProtocolError(
                        f"device {self.dev_num}: {name}: {field} is {found}: must be "
                        f"{fields[field]}, as in the request"
                    )
        return response
