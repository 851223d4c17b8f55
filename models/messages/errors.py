# SPDX-License-Identifier: BSD-2-Clause
"""What can be wrong with a message: one class for each kind of fault."""

from __future__ import annotations


class MessageError(ValueError):
    """A message that cannot be decoded or encoded.

    The text is one line that names the field and the limit.

    Parameters
    ----------
    field
        Name of the field at fault, as in the JSON form or the header.
    value
        What it was.
    limit
        What it may be, as text.
    context
        The message, if it is known: "GET_FEATURES response".

    Attributes
    ----------
    field, value, limit
        As given.
    """

    def __init__(self, field: str, value: object, limit: str, *, context: str = "") -> None:
        self.field = field
        self.value = value
        self.limit = limit
        shown = repr(value)
        if len(shown) > 60:
            shown = shown[:57] + "..."
        super().__init__(f"{context}{': ' if context else ''}{field} is {shown}: must be {limit}")


class TruncatedError(MessageError):
    """Fewer bytes than the header, or than the header's msg_size."""


class SizeError(MessageError):
    """msg_size is too small for the message's fields or above the revision's maximum."""


class UnknownMessageError(MessageError):
    """No message of the revision has this bus bit, id and kind, or this name."""


class FieldRangeError(MessageError):
    """A number that its field cannot hold."""


class CountError(MessageError):
    """A count that the maximum message cannot hold, or that its array contradicts."""


class FormError(MessageError):
    """A field that is missing, that the message does not have, or of the wrong type."""


class RevisionError(MessageError):
    """A revision that is not declared."""
