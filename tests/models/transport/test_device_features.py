# SPDX-License-Identifier: BSD-2-Clause
"""Features that a device offers, and the selections that it accepts."""

import pytest
from transport_support import (
    UNSUPPORTED,
    Exchange,
    ask,
    console,
    negotiate,
    select,
    start,
    write_status,
)

from models.devices import BlockDevice, ConsoleDevice, EntropyDevice, NetworkDevice, VirtioDevice
from models.devices.base import MAX_REFUSED_BLOCKS
from models.messages import R1
from models.virtio import DeviceStatus, Feature

OFFER = [5, 0x13]
"""Features of a console without a data path: SIZE and EMERG_WRITE; VERSION_1, ACCESS_PLATFORM and
ORDER_PLATFORM."""


def offered(exchange, index, num):
    answer = ask(exchange, "GET_FEATURES", index=index, num=num)
    assert (answer.index, answer.num) == (index, num)
    return list(answer.features)


def test_get_features_returns_the_offer(dialect):
    """Blocks that the device does not have are zero; the selection does not change the offer."""
    exchange = console(dialect)
    most = {"v1": 8, "r1": 12}[dialect.revision]
    for selection in (None, [0, 1]):
        if selection:
            ask(exchange, "SET_FEATURES", index=0, features=selection)
        assert offered(exchange, 0, 2) == OFFER
        assert offered(exchange, 1, most) == OFFER[1:] + [0] * (most - 1)
        for index in (2, 0x7FFF_FFFF, 0xFFFF_FFFF):
            assert offered(exchange, index, 2) == [0, 0]


def test_set_features_changes_the_named_blocks(dialect):
    exchange = console(dialect)
    device = exchange.devices[0]
    for index, word, selected in (
        (0, 1, 1),
        (1, 1, 1 << 32 | 1),
        (0, 4, 1 << 32 | 4),
        (1, 3, 3 << 32 | 4),
    ):
        assert ask(exchange, "SET_FEATURES", index=index, features=[word]).msg_size == 8
        assert device.selected == selected


@pytest.mark.parametrize(
    ("features", "accepted"),
    [
        ({0: [0, 1]}, True),
        ({0: [1, 1]}, True),
        ({0: [0, 0]}, False),
        ({0: [1 << 17, 1]}, False),
        ({0: [1 << 5, 3]}, False),
        ({0: [0, 1 | 1 << 31]}, False),
        ({0: [0, 1], 1: [3, 1]}, False),
        ({0: [0, 1], 2: [1]}, False),
        ({0: [0, 1], 2: [0]}, True),
        ({0: [0, 1], 0xFFFF_FFFF: [1]}, False),
    ],
)
def test_features_ok_depends_on_the_selection(dialect, features, accepted):
    """The response and GET_DEVICE_STATUS lack FEATURES_OK for an unacceptable selection."""
    exchange = console(dialect)
    write_status(exchange, 0, 0, 1, 3)
    for index, words in features.items():
        ask(exchange, "SET_FEATURES", index=index, features=words)
    expected = 0xB if accepted else 3
    assert write_status(exchange, 0, 0xB) == expected
    assert ask(exchange, "GET_DEVICE_STATUS").status == expected
    # A device that refused it works after a reset.
    start(exchange)


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4, 5, 77, 0xFFFF_FFFF])
def test_selection_of_any_block_is_refused_until_corrected(dialect, index):
    exchange = console(dialect)
    right = 1 if index == 1 else 0
    write_status(exchange, 0, 3)
    ask(exchange, "SET_FEATURES", index=0, features=[0, 1])
    for word, status in ((right | 1 << 31, 3), (right, 0xB)):
        ask(exchange, "SET_FEATURES", index=index, features=[word])
        assert write_status(exchange, 0, 0xB) == status


def test_too_many_refused_blocks_need_a_reset(dialect):
    exchange = console(dialect)
    blocks = range(4, 4 + MAX_REFUSED_BLOCKS + 1)
    write_status(exchange, 0, 3)
    ask(exchange, "SET_FEATURES", index=1, features=[1])
    for word in (1, 0):
        for index in blocks:
            ask(exchange, "SET_FEATURES", index=index, features=[word])
    assert write_status(exchange, 0, 0xB) == 3
    start(exchange)


def test_selection_is_fixed_by_features_ok(dialect):
    """A later selection is answered and ignored."""
    exchange = console(dialect)
    for bring_up, status in ((negotiate, 0xB), (start, 0xF)):
        bring_up(exchange)
        before = exchange.state()
        for index, words in ((0, [0, 0]), (5, [1])):
            ask(exchange, "SET_FEATURES", index=index, features=words)
        assert exchange.state() == before
        assert ask(exchange, "GET_DEVICE_STATUS").status == status


@pytest.mark.parametrize("bit", UNSUPPORTED)
def test_unsupported_features_are_neither_offered_nor_accepted(dialect, bit):
    with pytest.raises(ValueError, match=f"must be without {bit.name}"):
        VirtioDevice(features=bit.mask)
    for kind in (VirtioDevice, EntropyDevice, ConsoleDevice, NetworkDevice, BlockDevice):
        exchange = Exchange({0: kind()}, dialect)
        words = offered(exchange, 0, 4)
        assert not sum(word << 32 * k for k, word in enumerate(words)) & bit.mask
        write_status(exchange, 0, 1, 3)
        select(exchange, 0, Feature.VERSION_1.mask | bit.mask)
        assert write_status(exchange, 0, 0xB) == 3


@pytest.mark.parametrize(("features", "bits"), [(0, 64), (1 << 63, 64), (1 << 64, 96)])
def test_device_announces_only_necessary_blocks(features, bits):
    """The Linux driver of the patch series accepts only 64 bits."""
    device = VirtioDevice(features=features)
    assert device.num_feature_bits == bits
    for dialect, field, value in (
        ("v1", "num_feature_bits", bits),
        (R1, "num_feature_blocks", bits // 32),
    ):
        assert ask(Exchange({0: device}, dialect), "DEVICE_INFO").number(field) == value


def test_driver_cannot_set_suspend(exchange):
    assert write_status(exchange, 0, 1 | DeviceStatus.SUSPEND) == 1
