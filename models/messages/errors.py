# SPDX-License-Identifier: BSD-2-Clause
"""Errors of messages, one class for each kind of fault."""

from __future__ import annotations


class MessageError(ValueError):
    """A message cannot be decoded or encoded.

    The text is one line that names the field and the limit.

    Parameters
    ----------
    field
        Name of the invalid field, as in the JSON form or the header.
    value
        Value of the field.
    limit
        Text of the valid values.
    context
        Message, if it is known, for instance ``"GET_FEATURES response"``.

    Attributes
    ----------
    field, value, limit
        As passed to the constructor.
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
    """There are fewer bytes than the header, or than its msg_size."""


class SizeError(MessageError):
    """msg_size is too small for the fields or above the maximum of the revision."""


class UnknownMessageError(MessageError):
    """No message of the revision has this bus bit, ID and kind, or this name."""


class FieldRangeError(MessageError):
    """A number does not fit in its field."""


class CountError(MessageError):
    """A count exceeds the largest message or does not match its array."""


class FormError(MessageError):
    """A field is missing, unknown or of the wrong type."""


class RevisionError(MessageError):
    """There is no such revision."""
