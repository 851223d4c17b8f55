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


class Watch:
    """Hints of a bus, the texts reported so far, and a clock that the test advances."""

    def __init__(self, dialect, others=(V1, R1)):
        self.told = []
        self.time = 0.0
        self.due = []
        self.hints = DriverHints(
            self.told.append, dialect, others, AMP_PCI, SPSC_PAGES, 2, now=lambda: self.time
        )
        self.hints.remind = lambda delay_s, listener: self.due.append(
            (self.time + delay_s, listener)
        )

    def pass_time(self, seconds):
        self.time += seconds
        due = [listener for at, listener in self.due if at <= self.time]
        self.due = [(at, listener) for at, listener in self.due if at > self.time]
        for listener in due:
            listener()


@pytest.fixture(params=[V1, R1], ids=str)
def watch(request):
    return Watch(request.param)


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


def test_read_of_magic_names_self_describing_layout(watch):
    for _ in range(3):
        watch.hints.read(1, 0x1000, 2)
    (text,) = watch.told
    assert text.startswith("FIFO 0: the driver reads 2 bytes at BAR1 + 0x1000")
    assert "self-describing area" in text and "spsc-pages" in text


@pytest.mark.parametrize(
    ("bar", "offset", "size"),
    [(1, 0x1000, 1), (1, 0x1000, 4), (1, 0x1040, 2), (1, 0x2000, 2), (0, 0x1000, 2), (1, 0, 2)],
)
def test_valid_reads_give_no_hint(watch, bar, offset, size):
    watch.hints.read(bar, offset, size)
    assert watch.told == []


def test_read_of_magic_names_fifo(watch):
    watch.hints.read(1, 0x5000, 2)
    assert watch.told[0].startswith("FIFO 1: the driver reads 2 bytes at BAR1 + 0x5000")


def test_set_vqueue_of_44_bytes_names_autumn_2025(watch):
    raw = slot("00 0a 0000 0100 2c00" + "00" * 36)
    for _ in range(3):
        watch.hints.to_device(0, raw)
    (text,) = watch.told
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
def test_header_of_six_bytes_names_july_2025(watch, raw, name):
    for _ in range(3):
        watch.hints.to_device(1, slot(raw))
    (text,) = watch.told
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
def test_valid_and_unknown_messages_give_no_hint(watch, raw):
    """A valid message whose token looks like a size, an invalid one, a response, an unknown id."""
    watch.hints.to_device(0, slot(raw))
    watch.hints.to_device(0, bytes.fromhex(raw))
    watch.hints.to_driver(0, bytes.fromhex(raw))
    assert watch.told == []


def test_every_message_of_the_dialect_gives_no_hint(watch):
    dialect = watch.hints._dialect
    for layout in dialect.messages:
        fields = {field.name: 0 for field in layout.fields if not field.reserved}
        fields |= {
            array.name: bytes(array.count if isinstance(array.count, int) else 0)
            for array in layout.arrays
            if array.element_bits != 32
        }
        fields |= {array.name: () for array in layout.arrays if array.element_bits == 32}
        raw = dialect.message(layout.name, layout.kind, token=12, **fields).wire()
        watch.hints.to_device(0, raw.ljust(64, b"\0"))
        watch.hints.to_driver(0, raw)
    assert watch.told == []


def test_message_of_another_revision_names_it():
    watch = Watch(V1)
    watch.hints.to_device(0, R1.message("GET_SHM", shmid=0).wire())
    watch.hints.to_device(0, R1.message("GET_SHM", shmid=1).wire())
    assert watch.told == ["FIFO 0: GET_SHM of 12 bytes is a message of r1, not of v1"]


def test_all_matching_revisions_are_named():
    """With a dialect between the two: v1 with the GET_SHM of r1."""
    shm = [layout for layout in R1.messages if layout.name == "GET_SHM"]
    between = Dialect("between", max_size=V1.max_size, messages=(*V1.messages, *shm))
    watch = Watch(V1, (V1, between, R1))
    watch.hints.to_device(0, R1.message("GET_SHM", shmid=0).wire())
    assert "is a message of between or r1, not of v1" in watch.told[0]
    watch.hints.to_driver(0, found(V1))
    watch.hints.to_device(0, MORE_DEVICES)
    assert "it speaks r1, see --revision" in watch.told[1]
    for more in (MORE_DEVICES, None):
        watch = Watch(R1, (V1, between, R1))
        watch.hints.to_driver(0, found(R1))
        if more is not None:
            watch.hints.to_device(0, more)
        watch.pass_time(2 * SILENCE_S)
        assert "speaks v1 or between" in watch.told[0] and len(watch.told) == 1


@pytest.mark.parametrize(("bus", "driver"), [(V1, "r1"), (R1, "v1")], ids=["r1 on v1", "v1 on r1"])
def test_misread_next_offset_names_revision(bus, driver):
    """The driver decodes the number of devices as the next offset."""
    watch = Watch(bus)
    for _ in range(2):
        watch.hints.to_device(0, DEVICES)
        watch.hints.to_driver(0, found(bus))
        watch.hints.to_device(0, MORE_DEVICES)
    (text,) = watch.told
    assert text.startswith("FIFO 0: the driver requests devices from 32 on")
    assert f"it speaks {driver}, see --revision" in text
    watch.pass_time(2 * SILENCE_S)
    assert len(watch.told) == 1


@pytest.mark.parametrize(("bus", "driver"), [(V1, "r1"), (R1, "v1")], ids=["r1 on v1", "v1 on r1"])
def test_silence_after_device_list_names_revision(bus, driver):
    watch = Watch(bus)
    watch.hints.to_device(0, DEVICES)
    watch.hints.to_driver(0, found(bus))
    watch.pass_time(0.9 * SILENCE_S)
    watch.hints.to_device(0, bus.message("BUS_PING", data=1).wire())
    assert watch.told == []
    watch.pass_time(0.2 * SILENCE_S)
    (text,) = watch.told
    assert f"a driver that speaks {driver} finds none in a response of {bus.revision}" in text
    watch.pass_time(9 * SILENCE_S)
    assert len(watch.told) == 1


def test_request_to_device_gives_no_hint(watch):
    watch.hints.to_device(0, DEVICES)
    watch.hints.to_driver(0, found(watch.hints._dialect))
    watch.hints.to_device(0, INFO)
    # An empty bus has no device to send a request to.
    watch.hints.to_driver(1, found(watch.hints._dialect, bytes(4)))
    watch.pass_time(2 * SILENCE_S)
    assert watch.told == []


def test_silence_counts_from_last_response(watch):
    for _ in range(50):
        watch.hints.to_device(0, DEVICES)
        watch.hints.to_driver(0, found(watch.hints._dialect))
        assert len(watch.due) == 1
        watch.pass_time(0.5 * SILENCE_S)
    assert watch.told == []
    watch.pass_time(SILENCE_S)
    assert len(watch.told) == 1


def test_hints_start_over_with_next_client(watch):
    watch.hints.read(1, 0x1000, 2)
    watch.hints.to_driver(0, found(watch.hints._dialect))
    watch.hints.forget()
    watch.pass_time(2 * SILENCE_S)
    assert len(watch.told) == 1
    watch.hints.read(1, 0x1000, 2)
    assert len(watch.told) == 2


def test_random_bytes_are_accepted(watch):
    generator = random.Random(1)
    for _ in range(3000):
        raw = bytearray(generator.randbytes(generator.randrange(65)))
        if raw and generator.random() < 0.7:
            raw[:2] = bytes([generator.randrange(4), generator.randrange(0x48)])[: len(raw)]
        watch.hints.to_device(0, bytes(raw))
        watch.hints.to_driver(0, bytes(raw))
    assert len(watch.told) <= 5


@pytest.mark.parametrize(("bus", "driver"), [("v1", "r1"), ("r1", "v1")])
def test_model_driver_of_other_revision_is_named(bus, driver):
    """The messages of a driver and devices of models/, not made by hand."""
    watch = Watch(REVISIONS[bus])

    async def main():
        async with ModelSystem([{0: EntropyDevice(), 2: EntropyDevice()}], revision=bus) as system:

            def observe(direction, fifo, raw):
                if direction is Direction.TO_DEVICE:
                    watch.hints.to_device(fifo, raw)
                else:
                    watch.hints.to_driver(fifo, raw)

            system.device_side.observers.append(observe)
            (own,) = system.drivers
            own.stop()
            other = Driver(system.buses[0], system.runtime, revision=driver, timeout_us=1000)
            await other.start()
            assert await other.discover() == []
            other.stop()

    run(main())
    watch.pass_time(2 * SILENCE_S)
    assert len(watch.told) == 1 and driver in watch.told[0]


def test_get_devices_request_is_equal_in_all_revisions():
    """So the driver's reaction to the response is the first sign."""
    for revision in REVISIONS:
        raw = request("BUS_GET_DEVICES", revision=revision, offset=0, num=32).wire()
        assert raw.ljust(64, b"\0") == DEVICES
