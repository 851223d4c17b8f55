# SPDX-License-Identifier: BSD-2-Clause
"""Wire revision: messages, maximum size, and the codec that they define.

A revision is one :class:`Dialect` object, declared in a separate module such as ``v1``. The code
here and in the layers above does not depend on the revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..limits import span
from .errors import (
    FieldRangeError,
    FormError,
    SizeError,
    TruncatedError,
    UnknownMessageError,
)
from .layouts import (
    EVENT_ID,
    HEADER,
    HEADER_SIZE,
    TYPE_BUS,
    TYPE_RESPONSE,
    FieldValue,
    MessageKind,
    MessageLayout,
    check_integer,
)
from .message import Message
from .values import TransportFeature

MAX_MESSAGE = 0xFFFF
"""Largest msg_size, in bytes."""

_DERIVED_KEYS = frozenset({"message", "kind", "dev_num", "token", "msg_size", "wire"})


class Dialect:
    """One revision of the messages.

    ``max_size`` and ``features`` are read-only, because both ends of a bus rely on them.

    Parameters
    ----------
    revision
        Name, for instance ``"v1"``.
    max_size
        Size of the largest message in bytes, including the header. :meth:`Message.wire` pads to it.
    messages
        Every message, each once.
    features
        Transport features of the bus, agreed before the first message.

    Raises
    ------
    ValueError
        Two messages share bus bit, ID and kind, or name and kind; an ID contradicts the kind; a
        message does not fit in ``max_size``; ``max_size`` does not fit in msg_size; a feature is
        not in :class:`TransportFeature`.
    """

    def __init__(
        self,
        revision: str,
        *,
        max_size: int,
        messages: tuple[MessageLayout, ...],
        features: TransportFeature = TransportFeature.NONE,
    ):
        if max_size > MAX_MESSAGE:
            raise ValueError(f"max_size is {max_size}: must be at most {MAX_MESSAGE}")
        unknown = int(features) & ~sum(TransportFeature)
        if unknown:
            raise ValueError(f"features is {int(features):#x}: there is no feature {unknown:#x}")
        self.revision = revision
        self.messages = messages
        self._max_size = max_size
        self._features = features
        self._by_id: dict[tuple[bool, int, bool], MessageLayout] = {}
        self._by_name: dict[tuple[str, MessageKind], MessageLayout] = {}
        for layout in messages:
            is_event = layout.kind is MessageKind.EVENT
            if is_event != bool(layout.msg_id & EVENT_ID):
                raise ValueError(f"{layout}: id {layout.msg_id:#04x} contradicts the kind")
            if layout.min_size > max_size:
                raise ValueError(f"{layout}: {layout.min_size} bytes, maximum is {max_size}")
            by_id = (layout.bus, layout.msg_id, layout.kind is MessageKind.RESPONSE)
            if by_id in self._by_id or (layout.name, layout.kind) in self._by_name:
                raise ValueError(f"{layout}: declared twice")
            self._by_id[by_id] = layout
            self._by_name[layout.name, layout.kind] = layout
            self._by_name[layout.role, layout.kind] = layout

    def __repr__(self) -> str:
        return f"Dialect({self.revision!r})"

    @property
    def max_size(self) -> int:
        """Size of the largest message, in bytes."""
        return self._max_size

    @property
    def features(self) -> TransportFeature:
        """Transport features of the bus."""
        return self._features

    def on_bus(
        self, *, max_size: int | None = None, features: TransportFeature | None = None
    ) -> Dialect:
        """Make a dialect with the same messages and other parameters of the bus.

        Raises as the constructor does.
        """
        return Dialect(
            self.revision,
            max_size=self.max_size if max_size is None else max_size,
            messages=self.messages,
            features=self.features if features is None else features,
        )

    def has(self, name: str, kind: MessageKind) -> bool:
        """Whether the revision has a message with this name or alias."""
        return (name, kind) in self._by_name

    def layout(self, name: str, kind: MessageKind | str) -> MessageLayout:
        """Look up the declaration of a message by name or alias.

        Raises
        ------
        UnknownMessageError
            The revision has no such message.
        """
        if kind not in list(MessageKind):
            raise UnknownMessageError("kind", kind, "request, response or event")
        try:
            return self._by_name[name, MessageKind(kind)]
        except (KeyError, TypeError):
            limit = f"a {kind} of revision {self.revision}"
            raise UnknownMessageError("message", name, limit) from None

    def capacity(self, name: str, kind: MessageKind | str, array: str) -> int:
        """Most elements that ``array`` of a message can hold.

        Raises
        ------
        UnknownMessageError
            The revision has no such message.
        KeyError
            The message has no such array.
        """
        return self.layout(name, kind).array(array).capacity(self.max_size)

    def message(
        self,
        name: str,
        kind: MessageKind | str = MessageKind.REQUEST,
        *,
        dev_num: object = 0,
        token: object = 0,
        msg_size: object = None,
        **fields: object,
    ) -> Message:
        """Make a message.

        Parameters
        ----------
        name
            Name or alias of the message.
        kind
            Request, response or event.
        dev_num, token
            Header fields, 16 bits each.
        msg_size
            Size in bytes with the header; the exact size by default.
        **fields
            Fields of the message. A count may be omitted if an array implies it; reserved fields
            are zero by default.

        Raises
        ------
        MessageError
            A value is missing, unknown or outside its limit.
        """
        layout = self.layout(name, kind)
        return self._build(layout, dev_num, token, msg_size, fields)

    def _build(
        self,
        layout: MessageLayout,
        dev_num: object,
        token: object,
        msg_size: object,
        fields: Mapping[str, object],
    ) -> Message:
        values = layout.check(fields, self.max_size)
        exact = layout.exact_size(values)
        size = exact if msg_size is None else _header_number("msg_size", msg_size, layout)
        if not exact <= size <= self.max_size:
            raise SizeError("msg_size", size, span(exact, self.max_size), context=str(layout))
        return self._make(
            layout,
            _header_number("dev_num", dev_num, layout),
            _header_number("token", token, layout),
            size,
            values,
        )

    def decode(self, raw: bytes) -> Message:
        """Decode one message. Bytes of ``raw`` after msg_size are stale and ignored.

        The reserved type bits 2 to 7 are ignored. A msg_size larger than the fields leaves space
        for extensions and is accepted up to the maximum.

        Raises
        ------
        MessageError
            The bytes are not a message. No other exception is raised, whatever the bytes are.
        """
        if len(raw) < HEADER_SIZE:
            raise TruncatedError("length", len(raw), f"at least {HEADER_SIZE} bytes")
        type_bits, msg_id, dev_num, token, msg_size = HEADER.unpack_from(raw)
        is_bus = bool(type_bits & TYPE_BUS)
        is_response = bool(type_bits & TYPE_RESPONSE)
        layout = self._by_id.get((is_bus, msg_id, is_response))
        if layout is None:
            limit = f"the id of a {'bus' if is_bus else 'transport'} "
            limit += f"{'response' if is_response else 'request or event'} of {self.revision}"
            raise UnknownMessageError("msg_id", msg_id, limit)
        if not layout.min_size <= msg_size <= self.max_size:
            limit = span(layout.min_size, self.max_size)
            raise SizeError("msg_size", msg_size, limit, context=str(layout))
        if len(raw) < msg_size:
            limit = f"at least msg_size, {msg_size} bytes"
            raise TruncatedError("length", len(raw), limit, context=str(layout))
        values = layout.unpack(bytes(raw[:msg_size]), self.max_size)
        return self._make(layout, dev_num, token, msg_size, values)

    def from_json(self, values: object) -> Message:
        """Make a message from the output of :meth:`Message.to_json`. ``wire`` is ignored.

        Raises
        ------
        MessageError
            A key is missing, unknown or of the wrong type, or a value is outside its limit.
        """
        if not isinstance(values, Mapping):
            raise FormError("message", values, "an object with the keys message, kind, ...")
        for key in ("message", "kind"):
            if not isinstance(values.get(key), str):
                raise FormError(key, values.get(key), "a string")
        layout = self.layout(values["message"], values["kind"])
        fields = {key: value for key, value in values.items() if key not in _DERIVED_KEYS}
        for array in layout.arrays:
            value = fields.get(array.name)
            if array.element_bits != 32 and value is not None:
                fields[array.name] = _from_hex(array.name, value, str(layout))
        return self._build(
            layout,
            values.get("dev_num", 0),
            values.get("token", 0),
            values.get("msg_size"),
            fields,
        )

    def _make(
        self,
        layout: MessageLayout,
        dev_num: int,
        token: int,
        msg_size: int,
        values: dict[str, FieldValue],
    ) -> Message:
        if layout.bus and dev_num:
            raise FieldRangeError("dev_num", dev_num, "0 in a bus message", context=str(layout))
        return Message(
            layout=layout,
            dev_num=dev_num,
            token=token,
            msg_size=msg_size,
            fields=MappingProxyType(values),
            dialect=self,
        )


def _header_number(name: str, value: object, layout: MessageLayout) -> int:
    return check_integer(name, value, 0xFFFF, str(layout))


def _from_hex(name: str, value: object, context: str) -> bytes:
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            pass
    raise FormError(name, value, "a string of hex digits, two for each byte", context=context)
