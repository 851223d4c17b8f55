# SPDX-License-Identifier: BSD-2-Clause
"""Decoded message: immutable, and checked when it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .layouts import HEADER, FieldValue, MessageKind, MessageLayout

if TYPE_CHECKING:
    from .dialect import Dialect


@dataclass(frozen=True, kw_only=True, repr=False)
class Message:
    """Message of one revision, made by :meth:`Dialect.message` or :meth:`Dialect.decode`.

    Fields are also attributes: ``message.index`` is ``message.fields["index"]``. Aliases of fields
    work as well.

    Attributes
    ----------
    layout
        Layout of the message.
    dev_num
        Device number, 16 bits; 0 in bus messages.
    token
        Token, 16 bits, echoed in the response; 0 in events.
    msg_size
        Size in bytes with the header. Bytes after the fields are space for extensions.
    fields
        Numbers, bytes and tuples of words by name; read-only.
    dialect
        Revision of the message.
    """

    layout: MessageLayout
    dev_num: int
    token: int
    msg_size: int
    fields: Mapping[str, FieldValue] = field(hash=False)
    dialect: Dialect

    @property
    def name(self) -> str:
        """Name in the JSON form."""
        return self.layout.name

    @property
    def role(self) -> str:
        """Name that is the same in every revision; see :attr:`MessageLayout.role`."""
        return self.layout.role

    @property
    def kind(self) -> MessageKind:
        """Request, response or event."""
        return self.layout.kind

    @property
    def bus(self) -> bool:
        """Bus message; False for a transport message."""
        return self.layout.bus

    def __repr__(self) -> str:
        values = {"dev_num": self.dev_num, "token": self.token, **self.fields}
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"<Message {self.layout} {shown}>"

    def __getattr__(self, name: str) -> Any:
        # Python calls this only for names that are not attributes. "fields" itself is not one while
        # the object is being copied.
        fields = self.__dict__.get("fields", {})
        local = self.layout.local_name(name) if fields else name
        if local in fields:
            return fields[local]
        raise AttributeError(f"{type(self).__name__} has no field {name}")

    def number(self, name: str) -> int:
        """Value of the numeric field with this name or alias.

        Raises
        ------
        KeyError
            The message has no such field.
        TypeError
            The field is an array.
        """
        value = self.fields[self.layout.local_name(name)]
        if isinstance(value, int):
            return value
        raise TypeError(f"{self.layout}: {name} is an array")

    def encode(self) -> bytes:
        """Encode the message in ``msg_size`` bytes."""
        raw = self.layout.pack(self.fields, self.msg_size)
        HEADER.pack_into(
            raw,
            0,
            self.layout.type_bits,
            self.layout.msg_id,
            self.dev_num,
            self.token,
            self.msg_size,
        )
        return bytes(raw)

    def wire(self) -> bytes:
        """Encode the message, padded with zeros to the maximum size of the revision."""
        return self.encode().ljust(self.dialect.max_size, b"\0")

    def respond(self, **fields: object) -> Message:
        """Make the response to this request, with the same name, device number and token.

        Raises
        ------
        MessageError
            There is no such response, or ``fields`` do not fit it.
        """
        return self.dialect.message(
            self.name, MessageKind.RESPONSE, dev_num=self.dev_num, token=self.token, **fields
        )

    def to_json(self) -> dict[str, object]:
        """Convert the message to JSON values, with the keys of the vectors.

        Byte arrays are hex strings. These are omitted while zero: device number and token of a bus
        message, token of an event, reserved fields.
        """
        result: dict[str, object] = {"message": self.name, "kind": self.kind.value}
        if not self.bus or self.dev_num:
            result["dev_num"] = self.dev_num
        if self.token or not (self.bus or self.kind is MessageKind.EVENT):
            result["token"] = self.token
        for item in self.layout.fields:
            if not item.reserved or self.fields[item.name]:
                result[item.name] = self.fields[item.name]
        for array in self.layout.arrays:
            value = self.fields[array.name]
            if isinstance(value, bytes):
                result[array.name] = value.hex()
            elif isinstance(value, tuple):
                result[array.name] = list(value)
        result["msg_size"] = self.msg_size
        result["wire"] = self.wire().hex()
        return result
