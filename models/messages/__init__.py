# SPDX-License-Identifier: BSD-2-Clause
"""virtio-msg messages, declared once as data for each wire revision.

>>> message = decode(bytes.fromhex("0008030012000c000b000000"))
>>> describe(message)
'SET_DEVICE_STATUS request dev 3 token 0x0012 status 0x0b (ACKNOWLEDGE DRIVER FEATURES_OK)'
"""

from __future__ import annotations

from .describe import describe, describe_bytes
from .dialect import Dialect
from .errors import (
    CountError,
    FieldRangeError,
    FormError,
    MessageError,
    RevisionError,
    SizeError,
    TruncatedError,
    UnknownMessageError,
)
from .layouts import Array, Field, FieldValue, MessageKind, MessageLayout, Show
from .message import Message
from .r1 import R1
from .v1 import V1
from .v1_1 import V1_1
from .values import (
    OPERATION_MASK,
    QUEUE_ENABLED,
    QUEUE_FLAGS,
    DeviceState,
    QueueFlag,
    QueueOperation,
    TransportFeature,
)

REVISIONS: dict[str, Dialect] = {dialect.revision: dialect for dialect in (V1, V1_1, R1)}
"""Declared revisions, by name."""


def dialect_of(revision: str | Dialect) -> Dialect:
    """Look up a revision by name; a :class:`Dialect` is returned unchanged.

    Raises
    ------
    RevisionError
        There is no revision of this name.
    """
    if isinstance(revision, Dialect):
        return revision
    if revision not in REVISIONS:
        *others, last = REVISIONS
        raise RevisionError("revision", revision, f"{', '.join(others)} or {last}")
    return REVISIONS[revision]


def decode(raw: bytes, revision: str | Dialect = "v1") -> Message:
    """Decode one message with :meth:`Dialect.decode`. Raises :class:`MessageError` only."""
    return dialect_of(revision).decode(raw)


def encode(message: Message, revision: str | Dialect | None = None) -> bytes:
    """Encode the msg_size bytes of a message, in its own revision or another one.

    Raises
    ------
    MessageError
        The other revision cannot express the message.
    """
    return _in_revision(message, revision).encode()


def wire(message: Message, revision: str | Dialect | None = None) -> bytes:
    """Encode a message, padded with zeros to the maximum size (48 bytes in v1, 64 in r1).

    Raises as :func:`encode` does.
    """
    return _in_revision(message, revision).wire()


def from_json(values: object, revision: str | Dialect = "v1") -> Message:
    """Make a message from the output of :meth:`Message.to_json`. Raises :class:`MessageError`."""
    return dialect_of(revision).from_json(values)


def request(
    name: str, *, dev_num: int = 0, token: int = 0, revision: str | Dialect = "v1", **fields: object
) -> Message:
    """Make a request. Raises :class:`MessageError` if ``fields`` do not fit it."""
    return dialect_of(revision).message(
        name, MessageKind.REQUEST, dev_num=dev_num, token=token, **fields
    )


def event(
    name: str, *, dev_num: int = 0, revision: str | Dialect = "v1", **fields: object
) -> Message:
    """Make an event. Raises :class:`MessageError` if ``fields`` do not fit it."""
    return dialect_of(revision).message(name, MessageKind.EVENT, dev_num=dev_num, **fields)


def _in_revision(message: Message, revision: str | Dialect | None) -> Message:
    dialect = message.dialect if revision is None else dialect_of(revision)
    if dialect is message.dialect:
        return message
    return dialect.message(
        message.name, message.kind, dev_num=message.dev_num, token=message.token, **message.fields
    )


__all__ = [
    "OPERATION_MASK",
    "QUEUE_ENABLED",
    "QUEUE_FLAGS",
    "R1",
    "REVISIONS",
    "V1",
    "V1_1",
    "Array",
    "CountError",
    "DeviceState",
    "Dialect",
    "Field",
    "FieldRangeError",
    "FieldValue",
    "FormError",
    "Message",
    "MessageError",
    "MessageKind",
    "MessageLayout",
    "QueueFlag",
    "QueueOperation",
    "RevisionError",
    "Show",
    "SizeError",
    "TransportFeature",
    "TruncatedError",
    "UnknownMessageError",
    "decode",
    "describe",
    "describe_bytes",
    "dialect_of",
    "encode",
    "event",
    "from_json",
    "request",
    "wire",
]
