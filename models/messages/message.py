# SPDX-License-Identifier: BSD-2-Clause
"""One message, decoded: immutable, checked when it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .layouts import HEADER, FieldValue, MessageKind, MessageLayout

if TYPE_CHECKING:
    from .dialect import Dialect


@dataclass(frozen=True, kw_only=True, repr=False)
class Message:
    """A message of one revision; :meth:`Dialect.message` and ``decode`` make them.

    The fields also read as attributes: ``message.index`` is ``message.fields["index"]``. Names that
    another revision has for a field do as well.

    Attributes
    ----------
    layout
        The declaration it follows.
    dev_num
        Device number, 16 bits; 0 in bus messages.
    token
        16 bits, echoed in the response; 0 in events.
    msg_size
        Bytes with the header; more than the fields need leaves room for extensions.
    fields
        Read-only: numbers, bytes and tuples of words by name.
    dialect
        The revision that the message belongs to.
    """

    layout: MessageLayout
    dev_num: int
    token: int
    msg_size: int
    fields: Mapping[str, FieldValue] = field(hash=False)
    dialect: Dialect

    @property
    def name(self) -> str:
        """Name as in the JSON form."""
        return self.layout.name

    @property
    def role(self) -> str:
        """What the message is in every revision; see :attr:`MessageLayout.role`."""
        return self.layout.role

    @property
    def kind(self) -> MessageKind:
        """Request, response or event."""
        return self.layout.kind

    @property
    def bus(self) -> bool:
        """True for a bus message, False for a transport message."""
        return self.layout.bus

    def __repr__(self) -> str:
        values = {"dev_num": self.dev_num, "token": self.token, **self.fields}
        shown = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"<Message {self.layout} {shown}>"

    def __getattr__(self, name: str) -> Any:
        # Only reached for names that are no attribute. "fields" itself is one of them while the
        # object is being copied, before it has any.
        fields = self.__dict__.get("fields", {})
        own = self.layout.own_name(name) if fields else name
        if own in fields:
            return fields[own]
        raise AttributeError(f"{type(self).__name__} has no field {name}")

    def number(self, name: str) -> int:
        """The field called ``name``, by alias too, which holds a number.

        Raises
        ------
        KeyError
            The message has no such field.
        TypeError
            It is an array.
        """
        value = self.fields[self.layout.own_name(name)]
        if isinstance(value, int):
            return value
        raise TypeError(f"{self.layout}: {name} is an array")

    def encode(self) -> bytes:
        """The message's ``msg_size`` bytes."""
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
        """The message filled up with zeros to the revision's maximum size."""
        return self.encode().ljust(self.dialect.max_size, b"\0")

    def respond(self, **fields: object) -> Message:
        """The response to this request: same name, device number and token.

        Raises
        ------
        MessageError
            There is no such response, or ``fields`` do not fit it.
        """
        return self.dialect.message(
            self.name, MessageKind.RESPONSE, dev_num=self.dev_num, token=self.token, **fields
        )

    def to_json(self) -> dict[str, object]:
        """The message as JSON values, with the keys of the vectors.

        Byte arrays are hex strings. A bus message has no device number and no token, an event no
        token, unless they are not zero; reserved fields appear when they are not zero.
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
