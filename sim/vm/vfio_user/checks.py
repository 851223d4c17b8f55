# SPDX-License-Identifier: BSD-2-Clause
"""Checks of requests, and the errno of a refused one."""

from __future__ import annotations

import errno
import struct
from typing import Any

from ..bridge.function import FunctionAccessError
from ..bridge.guest_memory import MappingOverlapError, NoMappingError, TooManyMappingsError
from . import wire
from .wire import ClientMessage, Command


class RequestError(Exception):
    """A refused request; the text names the field and its limit.

    Attributes
    ----------
    code
        The errno of the reply.
    """

    def __init__(self, text: str, code: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.code = code


class VersionError(RequestError):
    """The two ends do not share a protocol version; the session ends."""


def fields(message: ClientMessage, layout: struct.Struct) -> tuple[tuple[Any, ...], bytes]:
    """The fields of ``layout`` in a message, and the bytes after them."""
    if len(message.payload) < layout.size:
        raise RequestError(f"payload has {len(message.payload)} bytes: must be {layout.size}")
    return layout.unpack_from(message.payload), message.payload[layout.size :]


def exact_fields(message: ClientMessage, layout: struct.Struct) -> tuple[Any, ...]:
    """The fields of ``layout``, which must be the whole payload; checks ``argsz`` if it has one."""
    values, trailing = fields(message, layout)
    if trailing:
        raise RequestError(f"payload has {len(message.payload)} bytes: must be {layout.size}")
    if layout is not wire.REGION_ACCESS:
        check_argsz(values[0], layout)
    return values


def query_fields(message: ClientMessage, layout: struct.Struct) -> tuple[Any, ...]:
    """The fields of ``layout``; checks ``argsz``, and that the second field, flags, is 0.

    The payload may be longer: a client may reserve space for the longest reply that it supports.
    """
    values, _ = fields(message, layout)
    check_argsz(values[0], layout)
    if values[1]:
        raise RequestError(f"flags are {values[1]:#x}: must be 0")
    return values


def check_argsz(argsz: int, layout: struct.Struct) -> None:
    """Require that ``argsz`` is at least the size of ``layout``."""
    if argsz < layout.size:
        raise RequestError(f"argsz is {argsz}: must be {layout.size} or more")


def unknown_bits(flags: int, allowed: int) -> int:
    """The bits of ``flags`` that are not in ``allowed``."""
    # In Python 3.11 the complement of an enum's flag only has bits that the enum defines.
    return flags & ~int(allowed)


def is_one_bit(flags: int) -> bool:
    """Whether exactly one bit is set."""
    return flags != 0 and flags & flags - 1 == 0


def command_name(command: int) -> str:
    """Name of a command, or its number if it does not exist."""
    try:
        return Command(command).name
    except ValueError:
        return f"command {command}"


def error_code(error: Exception) -> int:
    """The errno of a refused request."""
    if isinstance(error, RequestError):
        return error.code
    codes = {
        MappingOverlapError: errno.EEXIST,
        NoMappingError: errno.ENOENT,
        TooManyMappingsError: errno.ENOSPC,
        FunctionAccessError: errno.EIO,
    }
    return codes.get(type(error), errno.EINVAL)
