# SPDX-License-Identifier: BSD-2-Clause
"""Registers, doorbells and queues of the golden endpoint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED

from models.config_space import DEVICE_CONTROL, INITIATE_FLR
from models.endpoint import Endpoint, EndpointAccessError
from models.layout import LIVE_PAGES, PAGE, SPSC_PAGES
from models.spsc import SpscQueue

DRIVER, DEVICE = SPSC_PAGES.driver_queue_base, SPSC_PAGES.device_queue_base


class Bench:
    """Host that accesses the FIFOs with single reads and writes."""

    def __init__(self, num_fifos=1):
        self.endpoint = Endpoint(num_fifos)
        self.rung = []
        self.endpoint.doorbell_observers.append(self.rung.append)

    def word(self, base, value, offset=0):
        self.endpoint.bar_write(1, base + offset, value.to_bytes(4, "little"))

    def read(self, base, offset=0):
        return int.from_bytes(self.endpoint.bar_read(1, base + offset, 4), "little")

    def put(self, message, fifo=0):
        """Store a message and advance head, without the doorbell."""
        head = self.read(DRIVER(fifo))
        self.endpoint.bar_write(1, DRIVER(fifo) + 128 + 64 * head, message.ljust(64, b"\0"))
        self.word(DRIVER(fifo), (head + 1) % 62)

    def ring(self, fifo=0):
        self.endpoint.bar_write(0, 0x20 + 4 * fifo, b"\1\0\0\0")

    def popped(self):
        result = []
        while (message := self.endpoint.pop()) is not None:
            result.append((message[0], message[1][:1]))
        return result


def test_registers():
    endpoint = Endpoint(2)
    assert endpoint.bar_read(0, 0, 8).hex() == "0100000000000000"
    assert endpoint.bar_read(0, 1, 2) == b"\0\0"
    assert endpoint.bar_read(0, 0, 0x4000)[4:] == bytes(0x3FFC)
    endpoint.bar_write(0, 0, b"\xff" * 0x4000)
    assert endpoint.bar_read(0, 0, 0x4000) == b"\1" + bytes(0x3FFF)


@pytest.mark.parametrize(
    ("offset", "size", "enables", "rung"),
    [
        (0x20, 4, None, [0]),
        (0x20, 8, None, [0, 1]),
        (0x23, 1, None, [0]),
        (0x23, 2, None, [0, 1]),
        (0x24, 4, [False, False, True, False], [1]),
        (0x20, 8, [False] * 4 + [True] + [False] * 3, [1]),
        (0x20, 4, [False] * 4, []),
        (0x1C, 4, None, []),
        (0x28, 4, None, []),
        (0x1C, 12, [True] * 4 + [False] * 8, []),
    ],
)
def test_doorbell_byte_enables(offset, size, enables, rung):
    bench = Bench(2)
    bench.endpoint.bar_write(0, offset, bytes(size), enables)
    assert bench.rung == rung


def test_bar1_is_ram():
    endpoint = Endpoint(3)
    contents = bytes(k * 7 & 0xFF for k in range(0x10000))
    endpoint.bar_write(1, 0, contents)
    assert endpoint.bar_read(1, 0, 0x10000) == contents
    endpoint.bar_write(1, 0x3001, b"\xaa" * 5, [True, False, True, False, True])
    expected = bytearray(contents[0x3001:0x3006])
    expected[0::2] = b"\xaa" * 3
    assert endpoint.bar_read(1, 0x3001, 5) == expected


def test_reserved_pages_of_live_pages_read_zero():
    endpoint = Endpoint(3, layout=LIVE_PAGES)
    written = bytes(k % 251 + 1 for k in range(0x10000))
    endpoint.bar_write(1, 0, written)
    content = endpoint.bar_read(1, 0, 0x10000)
    # The window of a fourth FIFO has no queues.
    live = {0x1000, 0x2000, 0x5000, 0x6000, 0x9000, 0xA000}
    for page in range(0, 0x10000, PAGE):
        expected = written[page : page + PAGE] if page in live else bytes(PAGE)
        assert content[page : page + PAGE] == expected, f"{page:#x}"
    # A write across the end of a page changes only the page that is RAM.
    endpoint.bar_write(1, 0x0FFE, b"\1\2\3\4", [True, True, True, False])
    assert endpoint.bar_read(1, 0x0FFE, 4) == b"\0\0\3" + written[0x1001:0x1002]


def test_accesses_outside_are_refused():
    endpoint = Endpoint(1)
    for bar, offset, size in ((0, 0x4000, 1), (1, 0x3FFF, 2), (2, -1, 1), (2, 0, 0x1001)):
        with pytest.raises(EndpointAccessError, match=f"BAR {bar}, {size} bytes at"):
            endpoint.bar_read(bar, offset, size)
        with pytest.raises(EndpointAccessError, match=f"BAR {bar}, {size} bytes at"):
            endpoint.bar_write(bar, offset, bytes(size))
    with pytest.raises(EndpointAccessError, match=r"bar is 3: must be one of \[0, 1, 2\]"):
        endpoint.bar_read(3, 0, 4)
    with pytest.raises(EndpointAccessError, match="byte_enables has 1: must be 2"):
        endpoint.bar_write(1, 0, b"ab", [True])


def test_nothing_is_popped_without_a_doorbell():
    bench = Bench()
    bench.put(b"A" * 64)
    assert bench.endpoint.pop() is None
    bench.ring()
    assert bench.endpoint.pop() == (0, b"A" * 64)
    assert bench.read(DRIVER(0), 64) == 1
    assert bench.endpoint.pop() is None


def test_doorbell_samples_head():
    bench = Bench()
    bench.put(b"A")
    bench.ring()
    bench.put(b"B")
    assert bench.popped() == [(0, b"A")]
    bench.ring()
    assert bench.popped() == [(0, b"B")]


def test_doorbell_head_is_taken_modulo_capacity():
    bench = Bench()
    bench.put(b"A")
    bench.put(b"B")
    bench.word(DRIVER(0), 62 * 1000 + 2)
    bench.ring()
    assert bench.endpoint.doorbell_heads == [2]
    assert bench.popped() == [(0, b"A"), (0, b"B")]


def test_wrap_around():
    bench = Bench()
    for n in range(200):
        bench.put(bytes([n]))
        bench.ring()
        assert bench.popped() == [(0, bytes([n]))]


def test_fifos_are_served_round_robin():
    bench = Bench(3)
    for fifo, messages in ((0, b"abc"), (1, b"d"), (2, b"ef")):
        for message in messages:
            bench.put(bytes([message]), fifo)
        bench.ring(fifo)
    assert bench.popped() == [(0, b"a"), (1, b"d"), (2, b"e"), (0, b"b"), (2, b"f"), (0, b"c")]
    bench.put(b"x", 0)
    bench.put(b"y", 1)
    bench.ring(0)
    bench.ring(1)
    assert bench.popped() == [(1, b"y"), (0, b"x")]


def test_tail_write_invalidates_the_doorbell_head():
    # A driver zeroes both pages when it is loaded; earlier messages must not be popped again.
    bench = Bench()
    for n in range(10):
        bench.put(bytes([n]))
    bench.ring()
    for _ in range(4):
        bench.endpoint.pop()
    bench.endpoint.bar_write(1, DRIVER(0), bytes(4096))
    bench.endpoint.bar_write(1, DEVICE(0), bytes(4096))
    assert bench.popped() == []
    bench.put(b"N")
    bench.ring()
    assert bench.popped() == [(0, b"N")]


@pytest.mark.parametrize("byte", range(4))
def test_write_to_any_byte_of_the_tail_counts(byte):
    bench = Bench()
    for n in range(10):
        bench.put(bytes([n]))
    bench.ring()
    bench.endpoint.bar_write(1, DRIVER(0) + 64 + byte, b"\x01")
    tail = (1 << 8 * byte) % 62
    assert bench.endpoint.doorbell_heads == [tail]
    assert bench.popped() == []
    # The next doorbell continues from the tail modulo the capacity.
    bench.ring()
    bench.endpoint.pop()
    assert bench.read(DRIVER(0), 64) == (tail + 1) % 62


def test_writes_beside_the_tail_do_not_count():
    bench = Bench(2)
    bench.put(b"A")
    bench.ring()
    bench.endpoint.bar_write(1, DRIVER(0) + 60, bytes(4))
    bench.endpoint.bar_write(1, DRIVER(0) + 68, bytes(4))
    bench.endpoint.bar_write(1, DRIVER(0) + 60, bytes(12), [True] * 4 + [False] * 4 + [True] * 4)
    bench.endpoint.bar_write(1, DEVICE(0) + 64, bytes(4))
    bench.endpoint.bar_write(1, DRIVER(1) + 64, bytes(4))
    assert bench.popped() == [(0, b"A")]


def test_push_fills_the_slot_and_advances_head():
    bench = Bench()
    bench.endpoint.bar_write(1, DEVICE(0) + 128, b"\xee" * 64)
    assert bench.endpoint.push(0, b"m" * 8)
    assert bench.endpoint.bar_read(1, DEVICE(0) + 128, 64) == b"m" * 8 + bytes(56)
    assert bench.read(DEVICE(0)) == 1


@pytest.mark.parametrize("size", [0, 7, 65, 128])
def test_push_of_another_size_is_dropped_and_counted(size):
    endpoint = Endpoint(1)
    before = bytes(endpoint.ram)
    assert endpoint.push(0, bytes(size))
    assert endpoint.dropped_messages == 1
    assert endpoint.ram == before
    assert endpoint.bar_read(2, 0x800, 1) == b"\0"


def test_push_continues_from_a_rewritten_head():
    bench = Bench()
    bench.word(DEVICE(0), 62 + 7)
    bench.word(DEVICE(0), 7, 64)
    assert bench.endpoint.push(0, b"x" * 64)
    assert bench.endpoint.bar_read(1, DEVICE(0) + 128 + 7 * 64, 64) == b"x" * 64
    assert bench.read(DEVICE(0)) == 8


def test_61_fit_in_the_device_queue():
    bench = Bench()
    for n in range(61):
        assert bench.endpoint.device_queue_ready(0)
        assert bench.endpoint.push(0, bytes([n]) * 8)
    assert not bench.endpoint.device_queue_ready(0)
    before = bytes(bench.endpoint.ram)
    assert not bench.endpoint.push(0, b"no room!")
    assert bench.endpoint.ram == before
    bench.word(DEVICE(0), 1, 64)
    assert bench.endpoint.push(0, b"now room")
    with pytest.raises(EndpointAccessError, match="fifo is 1: must be 0 to 0"):
        bench.endpoint.push(1, b"nowhere!")


def test_full_device_queue_blocks_only_its_fifo():
    bench = Bench(2)
    for fifo in (0, 1):
        bench.put(bytes([65 + fifo]), fifo)
        bench.ring(fifo)
    while bench.endpoint.push(0, bytes(8)):
        pass
    assert bench.popped() == [(1, b"B")]
    bench.word(DEVICE(0), 1, 64)
    assert bench.popped() == [(0, b"A")]


def test_reset_empties_queues_and_keeps_other_ram():
    bench = Bench(2)
    bench.put(b"A" * 64, 1)
    bench.ring(1)
    bench.endpoint.push(0, b"B" * 64)
    bench.endpoint.config_write(DEVICE_CONTROL, INITIATE_FLR.mask)
    assert bench.popped() == []
    assert [
        bench.read(base(n), at) for base in (DRIVER, DEVICE) for n in (0, 1) for at in (0, 64)
    ] == [0] * 8
    assert bench.endpoint.bar_read(1, DRIVER(1) + 128, 64) == b"A" * 64
    assert bench.endpoint.bar_read(1, DEVICE(0) + 128, 64) == b"B" * 64


@FIXED
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("host"), st.integers(0, 0x3FFF), st.binary(min_size=1, max_size=80)),
            st.tuples(
                st.just("index"),
                st.sampled_from([0x1000, 0x1040, 0x2000, 0x2040]),
                st.binary(min_size=4, max_size=4),
            ),
            st.just(("ring",)),
            st.just(("pop",)),
            st.just(("push",)),
        ),
        max_size=60,
    )
)
def test_hostile_host_writes_affect_only_slots_and_indices(steps):
    # For any host writes: pops stay in [tail, doorbell head), and without a host write only the
    # index words and the device queue slots that the endpoint owns change.
    bench = Bench()
    endpoint = bench.endpoint
    for step in steps:
        before = bytes(endpoint.ram)
        if step[0] in ("host", "index"):
            at, data = step[1], step[2][: 0x4000 - step[1]]
            endpoint.bar_write(1, at, data)
            expected = before[:at] + data + before[at + len(data) :]
            assert endpoint.ram == expected
        elif step[0] == "ring":
            bench.ring()
        elif step[0] == "pop":
            tail = bench.read(DRIVER(0), 64) % 62
            doorbell_head = endpoint.doorbell_heads[0]
            message = endpoint.pop()
            if message is not None:
                assert tail != doorbell_head
                assert message[1] == before[0x1080 + 64 * tail : 0x10C0 + 64 * tail]
            changed = {k for k in range(0x4000) if endpoint.ram[k] != before[k]}
            assert changed <= set(range(0x1040, 0x1044))
        else:
            head = bench.read(DEVICE(0)) % 62
            endpoint.push(0, b"\xa5" * 64)
            changed = {k for k in range(0x4000) if endpoint.ram[k] != before[k]}
            slot = set(range(0x2080 + 64 * head, 0x20C0 + 64 * head))
            assert changed <= set(range(0x2000, 0x2004)) | slot


def test_queues_match_the_python_queue():
    endpoint = Endpoint(2)
    to_device = SpscQueue(endpoint.ram, DRIVER(1), 62)
    to_driver = SpscQueue(endpoint.ram, DEVICE(1), 62)
    for n in range(150):
        assert to_device.send(bytes([n]) * 64)
        endpoint.bar_write(0, 0x24, b"\1")
        fifo, slot = endpoint.pop()
        assert endpoint.push(fifo, slot)
        assert to_driver.recv(64) == bytes([n]) * 64
