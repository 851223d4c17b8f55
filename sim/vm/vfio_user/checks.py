# SPDX-License-Identifier: BSD-2-Clause
"""What makes a request one that can be done, and the errno of one that cannot."""

from __future__ import annotations

import errno
import struct
from typing import Any

from ..bridge.function import FunctionAccessError
from ..bridge.guest_memory import MappingOverlapError, NoMappingError, TooManyMappingsError
from . import wire
from .wire import ClientMessage, Command


class RequestError(Exception):
    """A request that is not done; the text names the field and its limit.

    Attributes
    ----------
    code
        The errno that the client is told.
    """

    def __init__(self, text: str, code: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.code = code


class VersionError(RequestError):
    """The two do not speak the same protocol: the session is over."""


def fields(message: ClientMessage, layout: struct.Struct) -> tuple[tuple[Any, ...], bytes]:
    """The fields of ``layout`` in a message, and what follows them."""
    if len(message.payload) < layout.size:
        raise RequestError(f"payload has {len(message.payload)} bytes: must be {layout.size}")
    return layout.unpack_from(message.payload), message.payload[layout.size :]


def exactly(message: ClientMessage, layout: struct.Struct) -> tuple[Any, ...]:
    """The fields of ``layout``, which is all there is; ``argsz``, if it has one, is no less."""
    values, rest = fields(message, layout)
    if rest:
        raise RequestError(f"payload has {len(message.payload)} bytes: must be {layout.size}")
    if layout is not wire.REGION_ACCESS:
        check_argsz(values[0], layout)
    return values


def question(message: ClientMessage, layout: struct.Struct) -> tuple[Any, ...]:
    """The fields of ``layout``, of which ``argsz`` is no less and the second, flags, is 0.

    A client may leave room for the longest answer that it understands.
    """
    values, _ = fields(message, layout)
    check_argsz(values[0], layout)
    if values[1]:
        raise RequestError(f"flags are {values[1]:#x}: must be 0")
    return values


def check_argsz(argsz: int, layout: struct.Struct) -> None:
    """Require that ``argsz`` is no less than ``layout`` is long."""
    if argsz < layout.size:
        raise RequestError(f"argsz is {argsz}: must be {layout.size} or more")


def beyond(flags: int, known: int) -> int:
    """The bits of ``flags`` that are not ``known``."""
    # The complement of a flag of Python 3.11's enum has only bits that the enum knows.
    return flags & ~int(known)


def one_flag(flags: int) -> bool:
    """Whether exactly one bit is set."""
    return flags != 0 and flags & flags - 1 == 0


def command_name(command: int) -> str:
    """What to call a command that may not exist."""
    try:
        return Command(command).name
    except ValueError:
        return f"command {command}"


def error_code(error: Exception) -> int:
    """The errno of a request that was not done."""
    if isinstance(error, RequestError):
        return error.code
    codes = {
        MappingOverlapError: errno.EEXIST,
        NoMappingError: errno.ENOENT,
        TooManyMappingsError: errno.ENOSPC,
        FunctionAccessError: errno.EIO,
    }
    return codes.get(type(error), errno.EINVAL)
