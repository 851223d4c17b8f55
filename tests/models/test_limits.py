# SPDX-License-Identifier: BSD-2-Clause
"""Text of limits: a range of one value is shown as that value."""

import pytest

from models.limits import span
from models.messages import R1, V1, SizeError


def test_span_of_one_value_is_that_value():
    assert span(48, 48) == "48" and span(8, 48) == "8 to 48" and span(0, 0) == "0"


@pytest.mark.parametrize(
    ("dialect", "limit"), [(V1, "48"), (R1, "48 to 64"), (R1.on_bus(max_size=52), "48 to 52")]
)
def test_error_names_the_valid_sizes(dialect, limit):
    raw = bytes.fromhex("000a00000100 2c00").ljust(64, b"\0")
    with pytest.raises(SizeError) as caught:
        dialect.decode(raw)
    assert str(caught.value) == f"SET_VQUEUE request: msg_size is 44: must be {limit}"


def test_message_of_maximum_size_has_one_valid_size():
    fields = dict.fromkeys(("index", "size", "descriptor_addr", "driver_addr", "device_addr"), 0)
    with pytest.raises(SizeError, match=r"msg_size is 49: must be 48$"):
        V1.message("SET_VQUEUE", msg_size=49, **fields)
