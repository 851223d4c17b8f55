# SPDX-License-Identifier: BSD-2-Clause
"""Message layouts as data: fields, arrays, and the sizes that follow from them.

All integers are little-endian. Offsets are in bytes from the start of the message, whose 8-byte
header is type, msg_id, dev_num, token, msg_size. Sources: the message structures of the patch
series; the seed's packers for the sizes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import cached_property

from .errors import CountError, FieldRangeError, FormError, SizeError

FieldValue = int | bytes | tuple[int, ...]
"""Value of a field, of a byte array or bitmap, or of an array of words."""

HEADER = struct.Struct("<BBHHH")
HEADER_SIZE = HEADER.size
TYPE_RESPONSE = 0x01
TYPE_BUS = 0x02
EVENT_ID = 0x40
"""First ID of the events. Lower IDs belong to requests and their responses."""


def check_integer(name: str, value: object, maximum: int, context: str) -> int:
    """Return ``value`` if it is an integer from 0 to ``maximum``.

    Raises
    ------
    FormError
        The value is not an integer. A bool is refused although it is an integer in Python.
    FieldRangeError
        The value is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise FormError(name, value, "an integer", context=context)
    if not 0 <= value <= maximum:
        raise FieldRangeError(name, value, f"0 to {maximum}", context=context)
    return value


class MessageKind(StrEnum):
    """Role of a message in an exchange."""

    REQUEST = "request"
    RESPONSE = "response"
    EVENT = "event"


class Show(Enum):
    """Format of a number in :func:`~models.messages.describe`."""

    DECIMAL = "decimal"
    HEX = "hex"
    STATUS = "status"
    DEVICE_ID = "device id"
    BUS_STATE = "bus state"


@dataclass(frozen=True, kw_only=True)
class Field:
    """Number of ``bits`` bits at bit ``lsb`` of the little-endian word at byte ``offset``.

    Parameters
    ----------
    name
        Key in the JSON form.
    offset
        Byte offset of the word.
    bits
        Width of the field.
    word
        Width of the word in bits; 0 if the field fills it.
    lsb
        Lowest bit of the field in the word.
    reserved
        Sent as zero by default, and omitted from the JSON form while zero.
    show
        Format in :func:`~models.messages.describe`.
    alias
        Name of the field in another revision. Code that serves several revisions may use it.
    """

    name: str
    offset: int
    bits: int
    word: int = 0
    lsb: int = 0
    reserved: bool = False
    show: Show = Show.DECIMAL
    alias: str = ""

    @property
    def size(self) -> int:
        """Size of the word in bytes."""
        return (self.word or self.bits) // 8

    @property
    def maximum(self) -> int:
        """Largest value."""
        return (1 << self.bits) - 1


@dataclass(frozen=True, kw_only=True)
class Array:
    """Consecutive elements from byte ``offset`` on.

    Parameters
    ----------
    name
        Key in the JSON form.
    offset
        Byte offset of the first element.
    element_bits
        Width of an element. 32: words, as a tuple of integers. 8: bytes. 1: a bitmap, as bytes,
        lowest bit first, with the last byte padded.
    count
        Name of the field with the number of elements, or the number itself.
    optional
        The array may be absent for any count (data of EVENT_CONFIG).
    alias
        See :class:`Field`.
    """

    name: str
    offset: int
    element_bits: int
    count: str | int
    optional: bool = False
    alias: str = ""

    def length(self, count: int) -> int:
        """Size of ``count`` elements in bytes."""
        return (count * self.element_bits + 7) // 8

    def capacity(self, max_size: int) -> int:
        """Number of elements that fit in a message of ``max_size`` bytes."""
        return (max_size - self.offset) * 8 // self.element_bits

    def elements(self, raw: bytes) -> FieldValue:
        """Convert ``raw``, the bytes of the array, to a field value."""
        if self.element_bits != 32:
            return raw
        return struct.unpack(f"<{len(raw) // 4}I", raw)


@dataclass(frozen=True, kw_only=True)
class MessageLayout:
    """Layout of one message: the request, the response or the event of an ID.

    Parameters
    ----------
    name
        Name in the JSON form; bus messages start with ``BUS_``.
    msg_id
        Header byte 1.
    kind
        Request, response or event.
    bus
        Bus message (type bit 1) or transport message.
    fields
        Fields after the header.
    arrays
        Arrays after the header.
    alias
        See :class:`Field`.
    """

    name: str
    msg_id: int
    kind: MessageKind
    bus: bool = False
    fields: tuple[Field, ...] = ()
    arrays: tuple[Array, ...] = ()
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.kind}"

    @property
    def type_bits(self) -> int:
        """Header byte 0, as sent."""
        return (TYPE_RESPONSE if self.kind is MessageKind.RESPONSE else 0) | (
            TYPE_BUS if self.bus else 0
        )

    @property
    def min_size(self) -> int:
        """Size of the message in bytes with empty variable arrays."""
        ends = [HEADER_SIZE, *(field.offset + field.size for field in self.fields)]
        for array in self.arrays:
            fixed = array.length(array.count) if isinstance(array.count, int) else 0
            ends.append(array.offset + fixed)
        return max(ends)

    @property
    def role(self) -> str:
        """Name that is the same in every revision: the alias if there is one, or the name."""
        return self.alias or self.name

    def field(self, name: str) -> Field:
        """Look up a field by name or alias. Raises KeyError if it does not exist."""
        for field in self.fields:
            if name in (field.name, field.alias):
                return field
        raise KeyError(name)

    def array(self, name: str) -> Array:
        """Look up an array by name or alias. Raises KeyError if it does not exist."""
        for array in self.arrays:
            if name in (array.name, array.alias):
                return array
        raise KeyError(name)

    def local_name(self, name: str) -> str:
        """Name in this revision of the field or array with the name or alias ``name``."""
        return self._local_names.get(name, name)

    def has(self, name: str) -> bool:
        """Whether there is a field or array with this name or alias."""
        return any(self.local_name(name) == item.name for item in self._parts)

    @property
    def _parts(self) -> tuple[Field | Array, ...]:
        return (*self.fields, *self.arrays)

    @cached_property
    def _local_names(self) -> dict[str, str]:
        return {item.alias: item.name for item in self._parts if item.alias}

    def exact_size(self, values: Mapping[str, FieldValue]) -> int:
        """Size of the message with ``values`` in bytes, including the header."""
        size = self.min_size
        for array in self.arrays:
            value = values[array.name]
            if not isinstance(value, int):
                length = 4 * len(value) if array.element_bits == 32 else len(value)
                size = max(size, array.offset + length)
        return size

    def check(self, values: Mapping[str, object], max_size: int) -> dict[str, FieldValue]:
        """Check ``values`` and return them complete and in the order of the layout.

        A missing count is derived from its array; a missing reserved field is zero.

        Raises
        ------
        FormError
            A value is missing, unknown or of the wrong type.
        FieldRangeError
            A number does not fit in its field.
        CountError
            A count does not match its array, or the array does not fit in ``max_size`` bytes.
        """
        values = {self.local_name(name): value for name, value in values.items()}
        names = {field.name for field in self.fields} | {array.name for array in self.arrays}
        for name in values:
            if name not in names:
                raise FormError(name, values[name], "absent: no such field", context=str(self))
        arrays = {array.name: self._checked_array(array, values) for array in self.arrays}
        numbers: dict[str, FieldValue] = {}
        for field in self.fields:
            numbers[field.name] = self._checked_number(field, values, arrays)
        result = numbers | arrays
        for array in self.arrays:
            self._check_count(array, result, max_size)
        return result

    def _checked_array(self, array: Array, values: Mapping[str, object]) -> FieldValue:
        value = values.get(array.name, b"" if array.optional else None)
        if value is None:
            raise FormError(array.name, value, "given", context=str(self))
        if array.element_bits != 32:
            if not isinstance(value, bytes | bytearray | memoryview):
                raise FormError(array.name, value, "bytes", context=str(self))
            return bytes(value)
        if not isinstance(value, list | tuple):
            raise FormError(array.name, value, "a list of numbers", context=str(self))
        for element in value:
            check_integer(array.name, element, 0xFFFF_FFFF, str(self))
        return tuple(value)

    def _checked_number(
        self, field: Field, values: Mapping[str, object], arrays: Mapping[str, FieldValue]
    ) -> int:
        if field.name in values:
            return check_integer(field.name, values[field.name], field.maximum, str(self))
        for array in self.arrays:
            value = arrays[array.name]
            if array.count == field.name and array.element_bits != 1 and not isinstance(value, int):
                return check_integer(field.name, len(value), field.maximum, str(self))
        if field.reserved:
            return 0
        raise FormError(field.name, None, "given", context=str(self))

    def _check_count(self, array: Array, values: Mapping[str, FieldValue], max_size: int) -> None:
        value = values[array.name]
        count = array.count if isinstance(array.count, int) else values[array.count]
        if not isinstance(count, int) or isinstance(value, int):
            raise FormError(array.name, value, "an array", context=str(self))
        if array.optional and not value:
            return
        name = array.count if isinstance(array.count, str) else array.name
        self.check_capacity(array, count, max_size)
        expected = count if array.element_bits == 32 else array.length(count)
        if expected != len(value):
            unit = "elements" if array.element_bits == 32 else "bytes"
            raise CountError(
                name,
                count,
                f"consistent with {array.name}, which has {len(value)} {unit}",
                context=str(self),
            )

    def check_capacity(self, array: Array, count: int, max_size: int) -> None:
        """Raise :class:`CountError` unless ``count`` elements fit in ``max_size`` bytes."""
        if count > array.capacity(max_size):
            name = array.count if isinstance(array.count, str) else array.name
            limit = f"at most {array.capacity(max_size)}"
            raise CountError(name, count, limit, context=str(self))

    def pack(self, values: Mapping[str, FieldValue], size: int) -> bytearray:
        """Encode checked ``values`` in ``size`` bytes, with a header of zeros."""
        raw = bytearray(size)
        for field in self.fields:
            value = values[field.name]
            end = field.offset + field.size
            if isinstance(value, int):
                word = int.from_bytes(raw[field.offset : end], "little") | value << field.lsb
                raw[field.offset : end] = word.to_bytes(field.size, "little")
        for array in self.arrays:
            value = values[array.name]
            if isinstance(value, tuple):
                value = struct.pack(f"<{len(value)}I", *value)
            if isinstance(value, bytes):
                raw[array.offset : array.offset + len(value)] = value
        return raw

    def unpack(self, raw: bytes, max_size: int) -> dict[str, FieldValue]:
        """Decode the values in ``raw``, which has msg_size bytes, at least ``min_size``.

        Raises
        ------
        CountError
            A count exceeds a message of ``max_size`` bytes.
        SizeError
            msg_size does not cover the elements of an array.
        """
        values: dict[str, FieldValue] = {}
        for field in self.fields:
            word = int.from_bytes(raw[field.offset : field.offset + field.size], "little")
            values[field.name] = word >> field.lsb & field.maximum
        for array in self.arrays:
            count = array.count if isinstance(array.count, int) else values[array.count]
            if not isinstance(count, int):
                raise FormError(array.name, count, "a number", context=str(self))
            if array.optional and len(raw) == array.offset:
                values[array.name] = array.elements(b"")
                continue
            self.check_capacity(array, count, max_size)
            end = array.offset + array.length(count)
            if end > len(raw):
                limit = f"at least {end} for {count} in {array.count}"
                raise SizeError("msg_size", len(raw), limit, context=str(self))
            values[array.name] = array.elements(raw[array.offset : end])
        return values
