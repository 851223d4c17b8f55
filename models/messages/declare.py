# SPDX-License-Identifier: BSD-2-Clause
"""Helpers to declare messages: one line per field, one call per message."""

from __future__ import annotations

from .layouts import Array, Field, MessageKind, MessageLayout, Show


def u16(name: str, offset: int, *, alias: str = "") -> Field:
    """Declare a 16-bit field."""
    return Field(name=name, offset=offset, bits=16, alias=alias)


def u32(
    name: str,
    offset: int,
    *,
    reserved: bool = False,
    show: Show = Show.DECIMAL,
    alias: str = "",
) -> Field:
    """Declare a 32-bit field."""
    return Field(name=name, offset=offset, bits=32, reserved=reserved, show=show, alias=alias)


def address(name: str, offset: int, *, alias: str = "") -> Field:
    """Declare a 64-bit bus address."""
    return Field(name=name, offset=offset, bits=64, show=Show.HEX, alias=alias)


def exchange(
    name: str,
    msg_id: int,
    *,
    request: tuple[Field, ...] = (),
    request_array: Array | None = None,
    response: tuple[Field, ...] = (),
    response_array: Array | None = None,
    bus: bool = False,
    alias: str = "",
) -> tuple[MessageLayout, MessageLayout]:
    """Declare a request and its response."""
    return (
        MessageLayout(
            name=name,
            msg_id=msg_id,
            kind=MessageKind.REQUEST,
            bus=bus,
            fields=request,
            arrays=(request_array,) if request_array else (),
            alias=alias,
        ),
        MessageLayout(
            name=name,
            msg_id=msg_id,
            kind=MessageKind.RESPONSE,
            bus=bus,
            fields=response,
            arrays=(response_array,) if response_array else (),
            alias=alias,
        ),
    )


def event(
    name: str, msg_id: int, *fields: Field, array: Array | None = None, bus: bool = False
) -> MessageLayout:
    """Declare an event: a message without a response."""
    return MessageLayout(
        name=name,
        msg_id=msg_id,
        kind=MessageKind.EVENT,
        bus=bus,
        fields=fields,
        arrays=(array,) if array else (),
    )
