# SPDX-License-Identifier: BSD-2-Clause
"""Memory requests of a design and the bytes that they transfer in a guest's files."""

import os

import pytest

from models.dma import PAGE
from sim.vm.bridge.bus_master import BusMaster, msix_message
from sim.vm.bridge.guest_memory import GuestMemory, Mapping
from testbench.host.requester import UnexpectedTlp
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import memory_read, memory_write

LOW, HIGH = 0x1000, 1 << 40
"""Addresses of the file's first two pages, and of its last two."""


class Host:
    """The part of a host that a bus master uses."""

    requester_id = 0x19
    max_payload_size = 128

    def __init__(self):
        self.on_request = None
        self.completions = []

    def complete_nowait(self, tlp):
        self.completions.append(tlp)


@pytest.fixture
def file():
    file = os.memfd_create("guest")
    os.ftruncate(file, 4 * PAGE)
    yield file
    os.close(file)


@pytest.fixture
def host(file):
    """A host whose bus master accesses the file in three mappings: page, page, two pages."""
    memory = GuestMemory()
    for address, offset, pages, writable in (
        (LOW, 0, 1, True),
        (LOW + PAGE, PAGE, 1, True),
        (HIGH, 2 * PAGE, 2, False),
    ):
        memory.map(
            Mapping(
                address=address,
                size=pages * PAGE,
                offset=offset,
                file=os.dup(file),
                writable=writable,
            )
        )
    host = Host()
    host.master = BusMaster(host, memory)
    host.refused = []
    host.master.on_refused = host.refused.append
    yield host
    memory.clear()


def test_write_stores_enabled_bytes(host, file):
    os.pwrite(file, bytes(range(16)), 0)
    host.on_request(memory_write(LOW + 3, b"abcdefgh"))
    assert os.pread(file, 16, 0) == b"\0\1\2abcdefgh\x0b\x0c\x0d\x0e\x0f"
    # Non-contiguous byte enables are allowed in requests of one or two dwords.
    holes = memory_write(LOW, b"ABCDEFGH").replace(first_be=0b0101, last_be=0b1010)
    host.on_request(holes)
    assert os.pread(file, 8, 0) == b"A\1CabFdH"
    host.on_request(memory_write(LOW, b"none").replace(first_be=0))
    assert os.pread(file, 4, 0) == b"A\1Ca"
    assert not host.refused and not host.completions


def test_read_across_mappings(host, file):
    os.pwrite(file, bytes(range(256)), PAGE - 128)
    host.on_request(memory_read(LOW + PAGE - 100, 200, tag=7))
    data = b"".join(answer.payload for answer in host.completions)
    assert data == bytes(range(28, 228)) and len(host.completions) == 2
    assert [answer.byte_count for answer in host.completions] == [200, 100]
    assert {answer.tag for answer in host.completions} == {7}
    assert max(len(answer.payload) for answer in host.completions) <= host.max_payload_size


@pytest.mark.parametrize("address", [0, LOW - 4, LOW + 2 * PAGE - 4, HIGH - 4, HIGH + 2 * PAGE])
def test_request_beyond_mapping_is_refused(host, file, address):
    host.on_request(memory_read(address, 8))
    (answer,) = host.completions
    assert answer.status == CplStatus.UR and not answer.payload
    host.on_request(memory_write(address, b"12345678"))
    assert len(host.refused) == 2
    assert os.pread(file, 4 * PAGE, 0) == bytes(4 * PAGE)


def test_write_to_read_only_mapping_is_refused(host, file):
    host.on_request(memory_write(HIGH, b"data"))
    assert len(host.refused) == 1 and os.pread(file, 4, 2 * PAGE) == bytes(4)
    host.on_request(memory_read(HIGH, 4))
    assert host.completions[0].status == CplStatus.SC


def test_zero_length_read_checks_mapping(host):
    host.on_request(memory_read(LOW, 0))
    host.on_request(memory_read(LOW - PAGE, 0))
    assert [answer.status for answer in host.completions] == [CplStatus.SC, CplStatus.UR]


def test_poisoned_write_is_refused(host, file):
    host.on_request(memory_write(LOW, b"data", ep=1))
    assert len(host.refused) == 1 and os.pread(file, 4, 0) == bytes(4)


def test_only_exact_msix_writes_are_interrupts(host):
    seen = []
    host.master.on_interrupt.append(seen.append)
    for vector in (0, 5):
        address, data = msix_message(vector)
        host.on_request(memory_write(address, data.to_bytes(4, "little")))
    assert seen == [0, 5] and host.master.interrupts == 2 and not host.refused
    # Almost an MSI-X write: wrong data, address or length.
    address, data = msix_message(1)
    for wrong in (
        memory_write(address, b"\2\0\0\0"),
        memory_write(address + 4, b"\1\0\0\0"),
        memory_write(address, b"\1\0\0"),
        memory_write(address, b"\1\0\0\0\0\0\0\0"),
        memory_write(msix_message(0)[0] - 16, b"\0\0\0\0"),
    ):
        host.on_request(wrong)
    assert seen == [0, 5] and len(host.refused) == 5


def test_other_requests_are_unexpected(host):
    with pytest.raises(UnexpectedTlp):
        host.on_request(Tlp(TlpKind.CFGRD0, length=1))


def test_traffic_is_counted(host):
    host.on_request(memory_write(LOW, b"data!"))
    host.on_request(memory_read(LOW - PAGE, 12))
    traffic = host.master.traffic
    assert (traffic.write_bytes, traffic.read_bytes) == (5, 12)
