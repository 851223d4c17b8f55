# SPDX-License-Identifier: BSD-2-Clause
"""One-line text of a message."""

from __future__ import annotations

from ..virtio import FEATURE_BITS, device_name, feature_names, status_names
from .dialect import Dialect
from .errors import MessageError
from .layouts import Array, Field, MessageKind, Show
from .message import Message
from .values import DeviceState


def describe(message: Message, *, brief: bool = False) -> str:
    """Describe the message in one line.

    For instance ``SET_DEVICE_STATUS request dev 3 token 0x0012 status 0x0b (ACKNOWLEDGE DRIVER
    FEATURES_OK)``: name, kind, device except for a bus message, token except for an event without
    one, then the fields in the order of the declaration. A ``brief`` line has neither kind nor
    token, for output that shows the direction of the message.
    """
    parts = [message.name]
    # The name of an event already says that it is one.
    if message.kind is not MessageKind.EVENT and not brief:
        parts.append(message.kind.value)
    if not message.bus:
        parts.append(f"dev {message.dev_num}")
    if (message.token or message.kind is not MessageKind.EVENT) and not brief:
        parts.append(f"token 0x{message.token:04x}")
    for field in message.layout.fields:
        value = message.fields[field.name]
        if isinstance(value, int) and (value or not field.reserved):
            parts.append(f"{field.name} {_number(field, value)}")
    for array in message.layout.arrays:
        value = message.fields[array.name]
        if not isinstance(value, int) and value:
            parts.append(f"{array.name} {_elements(array, value, message)}")
    return " ".join(parts)


def describe_bytes(raw: bytes, dialect: Dialect) -> str:
    """Describe raw bytes. If they are no message, the result has the error and the bytes."""
    try:
        return describe(dialect.decode(raw))
    except MessageError as error:
        return f"malformed: {error} [{bytes(raw[: dialect.max_size]).hex()}]"


def _number(field: Field, value: int) -> str:
    if field.show is Show.STATUS:
        names = status_names(value)
        return f"0x{value:02x} ({names})" if names else f"0x{value:02x}"
    if field.show is Show.DEVICE_ID:
        name = device_name(value)
        return f"{value} ({name})" if name else str(value)
    if field.show is Show.BUS_STATE:
        states = {state.value: state.name for state in DeviceState}
        return f"{value} ({states[value]})" if value in states else str(value)
    if field.show is Show.HEX:
        return f"0x{value:0{field.bits // 4}x}"
    return str(value)


def _elements(array: Array, value: bytes | tuple[int, ...], message: Message) -> str:
    if isinstance(value, tuple):
        words = " ".join(f"0x{word:08x}" for word in value)
        # Features in blocks beyond the standard have no names, and a block number may be huge.
        first = message.number("index")
        if first >= FEATURE_BITS // 32:
            return words
        features = sum(word << 32 * (first + k) for k, word in enumerate(value))
        names = feature_names(features)
        return f"{words} ({names})" if names else words
    if array.element_bits == 1:
        devices = _devices(value, message.number("offset"))
        return f"{value.hex()} ({devices})"
    return value.hex()


def _devices(bitmap: bytes, first: int) -> str:
    numbers = [first + k for k in range(8 * len(bitmap)) if bitmap[k // 8] >> k % 8 & 1]
    return "devices " + " ".join(map(str, numbers)) if numbers else "no devices"
