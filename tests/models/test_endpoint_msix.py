# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X of the golden endpoint: sent and pending messages."""

import struct

import pytest

from models.config_space import (
    COMMAND,
    DEVICE_CONTROL,
    INITIATE_FLR,
    MSIX_CAPABILITY,
    POWER_D0,
    POWER_D3HOT,
    POWER_STATE,
)
from models.endpoint import Endpoint
from models.shell import AMP_PCI

MASTER, ENABLE, FUNCTION_MASK = 1 << 2, 1 << 31, 1 << 30
PBA = 0x800


class Bench:
    def __init__(self, num_fifos=2):
        self.endpoint = Endpoint(num_fifos)
        self.sent = []
        self.endpoint.msix.observers.append(lambda *message: self.sent.append(message))

    def entry(self, vector, *, masked, address=0xFEE0_0000):
        data = struct.pack("<QII", address + 16 * vector, 0x40 + vector, masked)
        self.endpoint.bar_write(2, AMP_PCI.msix_entry(vector), data)

    def enable(self):
        self.endpoint.config_write(COMMAND, 0x2 | MASTER)
        self.endpoint.config_write(MSIX_CAPABILITY, ENABLE)

    def raise_vector(self, fifo=0):
        assert self.endpoint.push(fifo, bytes(8))

    @property
    def pending(self):
        return int.from_bytes(self.endpoint.bar_read(2, PBA, 8), "little")


@pytest.fixture
def bench():
    return Bench()


def test_masked_after_reset(bench):
    assert bench.endpoint.bar_read(2, 0, 32) == (bytes(12) + b"\1\0\0\0") * 2
    bench.enable()
    bench.raise_vector()
    assert bench.sent == []
    assert bench.pending == 1


def test_unmasked_vector_sends_immediately(bench):
    bench.enable()
    bench.entry(1, masked=0, address=0x12_FEE0_0003)
    bench.raise_vector(1)
    assert bench.sent == [(0x12_FEE0_0010, 0x41)]
    assert bench.pending == 0


@pytest.mark.parametrize(
    ("closed", "opened"),
    [
        ((COMMAND, 0x2), (COMMAND, 0x2 | MASTER)),
        ((MSIX_CAPABILITY, 0), (MSIX_CAPABILITY, ENABLE)),
        ((MSIX_CAPABILITY, ENABLE | FUNCTION_MASK), (MSIX_CAPABILITY, ENABLE)),
        ((POWER_STATE.offset, POWER_D3HOT), (POWER_STATE.offset, POWER_D0)),
    ],
    ids=["bus master off", "disabled", "function mask", "D3hot"],
)
def test_disallowed_message_stays_pending(bench, closed, opened):
    bench.enable()
    bench.entry(0, masked=0)
    bench.endpoint.config_write(*closed)
    bench.raise_vector()
    bench.raise_vector()
    assert (bench.sent, bench.pending) == ([], 1)
    bench.endpoint.config_write(*opened)
    assert (bench.sent, bench.pending) == ([(0xFEE0_0000, 0x40)], 0)


def test_vector_mask(bench):
    bench.enable()
    bench.entry(0, masked=1)
    bench.entry(1, masked=1)
    bench.raise_vector(0)
    bench.raise_vector(1)
    assert bench.pending == 3
    bench.entry(1, masked=0)
    assert (bench.sent, bench.pending) == ([(0xFEE0_0010, 0x41)], 1)
    # One byte is enough to unmask.
    bench.endpoint.bar_write(2, AMP_PCI.msix_control(0), b"\0")
    assert (bench.sent[1:], bench.pending) == ([(0xFEE0_0000, 0x40)], 0)


def test_table_bits_and_byte_enables(bench):
    endpoint = bench.endpoint
    endpoint.bar_write(2, 0, b"\xff" * 16, [k % 2 == 0 for k in range(16)])
    assert endpoint.bar_read(2, 0, 16).hex() == "ff00" * 6 + "01000000"
    endpoint.bar_write(2, 0, b"\xff" * 16)
    assert endpoint.bar_read(2, 0, 16) == b"\xff" * 12 + b"\1\0\0\0"
    assert endpoint.bar_read(2, 16, 16) == bytes(12) + b"\1\0\0\0"


def test_rest_of_the_bar_is_zero_and_read_only(bench):
    endpoint = bench.endpoint
    bench.raise_vector()
    endpoint.bar_write(2, 0x20, b"\xff" * (0x1000 - 0x20))
    assert endpoint.bar_read(2, 0x20, 0x1000 - 0x20)[PBA - 0x20] == 1
    assert sum(endpoint.bar_read(2, 0x20, 0x1000 - 0x20)) == 1


def test_reset_masks_vectors_and_clears_pending_bits(bench):
    bench.entry(0, masked=0)
    bench.raise_vector()
    bench.endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask)
    assert bench.pending == 0
    assert bench.endpoint.bar_read(2, 0, 16) == bytes(12) + b"\1\0\0\0"
    bench.enable()
    bench.entry(0, masked=0)
    assert bench.sent == []
