# SPDX-License-Identifier: BSD-2-Clause
"""A limit that leaves one number is named as that number."""

import pytest

from models.limits import span
from models.messages import R1, V1, SizeError


def test_a_span_of_one_number_is_the_number():
    assert span(48, 48) == "48" and span(8, 48) == "8 to 48" and span(0, 0) == "0"


@pytest.mark.parametrize(
    ("dialect", "limit"), [(V1, "48"), (R1, "48 to 64"), (R1.on_bus(max_size=52), "48 to 52")]
)
def test_the_size_of_set_vqueue_is_named_as_it_may_be(dialect, limit):
    raw = bytes.fromhex("000a00000100 2c00").ljust(64, b"\0")
    with pytest.raises(SizeError) as caught:
        dialect.decode(raw)
    assert str(caught.value) == f"SET_VQUEUE request: msg_size is 44: must be {limit}"


def test_a_message_that_fills_the_bus_has_one_size():
    fields = dict.fromkeys(("index", "size", "descriptor_addr", "driver_addr", "device_addr"), 0)
    with pytest.raises(SizeError, match=r"msg_size is 49: must be 48$"):
        V1.message("SET_VQUEUE", msg_size=49, **fields)
