# SPDX-License-Identifier: BSD-2-Clause
"""Hints about drivers of another layout or dialect: one line of text for each sign."""

import random

import pytest

from models.bus import Direction
from models.devices import EntropyDevice
from models.driver import Driver
from models.layout import SPSC_PAGES
from models.messages import R1, REVISIONS, V1, Dialect, MessageKind, request
from models.shell import AMP_PCI
from models.system import ModelSystem
from models.virtual_time import run
from sim.vm.serve.driver_hints import SILENCE_S, DriverHints


class HintBench:
    """Hints of a bus, the texts reported so far, and a clock that the test advances."""

    def __init__(self, dialect, others=(V1, R1)):
        self.texts = []
        self.time = 0.0
        self.due = []
        self.hints = DriverHints(
            self.texts.append, dialect, others, AMP_PCI, SPSC_PAGES, 2, now=lambda: self.time
        )
        self.hints.call_later = lambda delay_s, listener: self.due.append(
            (self.time + delay_s, listener)
        )

    def pass_time(self, seconds):
        self.time += seconds
        due = [listener for at, listener in self.due if at <= self.time]
        self.due = [(at, listener) for at, listener in self.due if at > self.time]
        for listener in due:
            listener()


@pytest.fixture(params=[V1, R1], ids=str)
def bench(request):
    return HintBench(request.param)


def slot(text):
    """The bytes of a message, padded to a slot."""
    return bytes.fromhex(text).ljust(64, b"\0")


DEVICES = slot("02 02 0000 0000 0c00 0000 2000")
"""BUS_GET_DEVICES from device 0 on, 32 of them; the same in both revisions."""
MORE_DEVICES = slot("02 02 0000 0000 0c00 2000 2000")
INFO = slot("00 02 0000 0100 0800")


def found(dialect, bitmap=b"\1\0\0\0"):
    """The response to :data:`DEVICES`."""
    answer = dialect.message(
        "BUS_GET_DEVICES", MessageKind.RESPONSE, offset=0, num=32, next_offset=0, bitmap=bitmap
    )
    return answer.wire()


def test_read_of_magic_names_self_describing_layout(bench):
    for _ in range(3):
        bench.hints.read(1, 0x1000, 2)
    (text,) = bench.texts
    assert text.startswith("FIFO 0: the driver reads 2 bytes at BAR1 + 0x1000")
    assert "self-describing area" in text and "spsc-pages" in text


@pytest.mark.parametrize(
    ("bar", "offset", "size"),
    [(1, 0x1000, 1), (1, 0x1000, 4), (1, 0x1040, 2), (1, 0x2000, 2), (0, 0x1000, 2), (1, 0, 2)],
)
def test_valid_reads_give_no_hint(bench, bar, offset, size):
    bench.hints.read(bar, offset, size)
    assert bench.texts == []


def test_read_of_magic_names_fifo(bench):
    bench.hints.read(1, 0x5000, 2)
    assert bench.texts[0].startswith("FIFO 1: the driver reads 2 bytes at BAR1 + 0x5000")


def test_set_vqueue_of_44_bytes_names_autumn_2025(bench):
    raw = slot("00 0a 0000 0100 2c00" + "00" * 36)
    for _ in range(3):
        bench.hints.to_device(0, raw)
    (text,) = bench.texts
    assert text.startswith("FIFO 0: SET_VQUEUE has 44 bytes, as in the dialect of autumn 2025")


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        # type, id, device, size; no token.
        ("00 02 0000 0600", "INFO"),
        ("02 02 0000 0a00 0000 2000", "BUS_GET_DEVICES"),
        ("00 07 0000 0600", "GET_DEVICE_STATUS"),
        ("00 08 0000 0a00 0100 0000", "SET_DEVICE_STATUS"),
        ("00 03 0000 0e00 0000 0000 0200 0000", "GET_"),
        ("00 08 0300 0a00 0000 0000", "SET_DEVICE_STATUS"),
    ],
)
def test_header_of_six_bytes_names_july_2025(bench, raw, name):
    for _ in range(3):
        bench.hints.to_device(1, slot(raw))
    (text,) = bench.texts
    assert text.startswith("FIFO 1: ") and name in text
    assert "has a header of 6 bytes, as in the dialect of July 2025" in text


@pytest.mark.parametrize(
    "raw",
    [
        "00 08 0000 0100 0c00 0100 0000",
        "00 02 0000 0600 0800",
        "02 03 0000 0a00 0c00 efbe adde",
        "00 07 0000 0100 0000",
        "01 02 0000 0600",
        "00 3f 0000 0600",
        "00",
        "",
    ],
)
def test_valid_and_unknown_messages_give_no_hint(bench, raw):
    """A valid message whose token looks like a size, an invalid one, a response, an unknown id."""
    bench.hints.to_device(0, slot(raw))
    bench.hints.to_device(0, bytes.fromhex(raw))
    bench.hints.to_driver(0, bytes.fromhex(raw))
    assert bench.texts == []


def test_every_message_of_the_dialect_gives_no_hint(bench):
    dialect = bench.hints._dialect
    for layout in dialect.messages:
        fields = {field.name: 0 for field in layout.fields if not field.reserved}
        fields |= {
            array.name: bytes(array.count if isinstance(array.count, int) else 0)
            for array in layout.arrays
            if array.element_bits != 32
        }
        fields |= {array.name: () for array in layout.arrays if array.element_bits == 32}
        raw = dialect.message(layout.name, layout.kind, token=12, **fields).wire()
        bench.hints.to_device(0, raw.ljust(64, b"\0"))
        bench.hints.to_driver(0, raw)
    assert bench.texts == []


def test_message_of_another_revision_names_it():
    bench = HintBench(V1)
    bench.hints.to_device(0, R1.message("GET_SHM", shmid=0).wire())
    bench.hints.to_device(0, R1.message("GET_SHM", shmid=1).wire())
    assert bench.texts == ["FIFO 0: GET_SHM of 12 bytes is a message of r1, not of v1"]


def test_all_matching_revisions_are_named():
    """With a dialect between the two: v1 with the GET_SHM of r1."""
    shm = [layout for layout in R1.messages if layout.name == "GET_SHM"]
    between = Dialect("between", max_size=V1.max_size, messages=(*V1.messages, *shm))
    bench = HintBench(V1, (V1, between, R1))
    bench.hints.to_device(0, R1.message("GET_SHM", shmid=0).wire())
    assert "is a message of between or r1, not of v1" in bench.texts[0]
    bench.hints.to_driver(0, found(V1))
    bench.hints.to_device(0, MORE_DEVICES)
    assert "it speaks r1, see --revision" in bench.texts[1]
    for more in (MORE_DEVICES, None):
        bench = HintBench(R1, (V1, between, R1))
        bench.hints.to_driver(0, found(R1))
        if more is not None:
            bench.hints.to_device(0, more)
        bench.pass_time(2 * SILENCE_S)
        assert "speaks v1 or between" in bench.texts[0] and len(bench.texts) == 1


@pytest.mark.parametrize(("bus", "driver"), [(V1, "r1"), (R1, "v1")], ids=["r1 on v1", "v1 on r1"])
def test_misread_next_offset_names_revision(bus, driver):
    """The driver decodes the number of devices as the next offset."""
    bench = HintBench(bus)
    for _ in range(2):
        bench.hints.to_device(0, DEVICES)
        bench.hints.to_driver(0, found(bus))
        bench.hints.to_device(0, MORE_DEVICES)
    (text,) = bench.texts
    assert text.startswith("FIFO 0: the driver requests devices from 32 on")
    assert f"it speaks {driver}, see --revision" in text
    bench.pass_time(2 * SILENCE_S)
    assert len(bench.texts) == 1


@pytest.mark.parametrize(("bus", "driver"), [(V1, "r1"), (R1, "v1")], ids=["r1 on v1", "v1 on r1"])
def test_silence_after_device_list_names_revision(bus, driver):
    bench = HintBench(bus)
    bench.hints.to_device(0, DEVICES)
    bench.hints.to_driver(0, found(bus))
    bench.pass_time(0.9 * SILENCE_S)
    bench.hints.to_device(0, bus.message("BUS_PING", data=1).wire())
    assert bench.texts == []
    bench.pass_time(0.2 * SILENCE_S)
    (text,) = bench.texts
    assert f"a driver that speaks {driver} finds none in a response of {bus.revision}" in text
    bench.pass_time(9 * SILENCE_S)
    assert len(bench.texts) == 1


def test_request_to_device_gives_no_hint(bench):
    bench.hints.to_device(0, DEVICES)
    bench.hints.to_driver(0, found(bench.hints._dialect))
    bench.hints.to_device(0, INFO)
    # An empty bus has no device to send a request to.
    bench.hints.to_driver(1, found(bench.hints._dialect, bytes(4)))
    bench.pass_time(2 * SILENCE_S)
    assert bench.texts == []


def test_silence_counts_from_last_response(bench):
    for _ in range(50):
        bench.hints.to_device(0, DEVICES)
        bench.hints.to_driver(0, found(bench.hints._dialect))
        assert len(bench.due) == 1
        bench.pass_time(0.5 * SILENCE_S)
    assert bench.texts == []
    bench.pass_time(SILENCE_S)
    assert len(bench.texts) == 1


def test_hints_start_over_with_next_client(bench):
    bench.hints.read(1, 0x1000, 2)
    bench.hints.to_driver(0, found(bench.hints._dialect))
    bench.hints.reset()
    bench.pass_time(2 * SILENCE_S)
    assert len(bench.texts) == 1
    bench.hints.read(1, 0x1000, 2)
    assert len(bench.texts) == 2


def test_random_bytes_are_accepted(bench):
    generator = random.Random(1)
    for _ in range(3000):
        raw = bytearray(generator.randbytes(generator.randrange(65)))
        if raw and generator.random() < 0.7:
            raw[:2] = bytes([generator.randrange(4), generator.randrange(0x48)])[: len(raw)]
        bench.hints.to_device(0, bytes(raw))
        bench.hints.to_driver(0, bytes(raw))
    assert len(bench.texts) <= 5


@pytest.mark.parametrize(("bus", "driver"), [("v1", "r1"), ("r1", "v1")])
def test_model_driver_of_other_revision_is_named(bus, driver):
    """The messages of a driver and devices of models/, not made by hand."""
    bench = HintBench(REVISIONS[bus])

    async def main():
        async with ModelSystem([{0: EntropyDevice(), 2: EntropyDevice()}], revision=bus) as system:

            def observe(direction, fifo, raw):
                if direction is Direction.TO_DEVICE:
                    bench.hints.to_device(fifo, raw)
                else:
                    bench.hints.to_driver(fifo, raw)

            system.device_side.observers.append(observe)
            (own,) = system.drivers
            own.stop()
            other = Driver(system.buses[0], system.runtime, revision=driver, timeout_us=1000)
            await other.start()
            assert await other.discover() == []
            other.stop()

    run(main())
    bench.pass_time(2 * SILENCE_S)
    assert len(bench.texts) == 1 and driver in bench.texts[0]


def test_get_devices_request_is_equal_in_all_revisions():
    """So the driver's reaction to the response is the first sign."""
    for revision in REVISIONS:
        raw = request("BUS_GET_DEVICES", revision=revision, offset=0, num=32).wire()
        assert raw.ljust(64, b"\0") == DEVICES
