# SPDX-License-Identifier: BSD-2-Clause
"""Concurrent writes of device and driver to one word of configuration."""

import pytest
from transport_support import PROFILES, STRICT, Plain

from models.driver import ConfigError
from models.system import ModelSystem


class Racing(Plain):
    """Changes its first word to the next of ``rivals`` before each write takes effect."""

    def __init__(self):
        super().__init__(size=8)
        self.rivals = []
        self.history = []

    def write_config(self, offset, data):
        done = super().write_config(offset, data)
        self.history.append(("driver", bytes(self._config[:4]), done))
        return done

    def compete(self):
        if self.rivals:
            self.update_config(0, self.rivals.pop(0))
            self.history.append(("device", bytes(self._config[:4]), True))


@pytest.fixture(params=PROFILES.values(), ids=PROFILES)
def dialect(request):
    return request.param


async def race(dialect, rivals):
    """Let the driver write while the device changes the word; return outcome and history."""
    device = Racing()
    async with ModelSystem([{0: device}], revision=dialect) as system:
        dev = await system.drivers[0].probe(0)
        await dev.read_config(0, 8)
        device.rivals = list(rivals)
        side = system.device_side
        # The device changes the word while the request is in flight.
        side.observers.append(
            lambda way, fifo, raw: device.compete() if raw[1] == 6 and not raw[0] else None
        )
        try:
            await dev.write_config(0, b"DRIV")
            refused = False
        except ConfigError:
            refused = True
        stored = await dev.read_config(0, 4)
        return refused, stored, device.history, await dev.config_generation(), device


async def test_concurrent_writes_are_ordered(dialect):
    refused, stored, history, generation, device = await race(dialect, [b"DEV1"])
    assert not refused and stored == b"DRIV"
    assert [writer for writer, _, _ in history] == ["device", "driver"]
    # Both changes advance the generation, so that a concurrent reader detects them.
    assert generation == device.generation == 2


async def test_stale_strict_write_is_repeated():
    refused, stored, history, generation, _ = await race(STRICT, [b"DEV1", b"DEV2", b"DEV3"])
    assert not refused and stored == b"DRIV" and generation == 4
    assert history[:3] == [("device", word, True) for word in (b"DEV1", b"DEV2", b"DEV3")]
    assert history[3] == ("driver", b"DRIV", True)


async def test_strict_write_fails_if_the_device_always_writes():
    rivals = [f"DE{n:02}".encode() for n in range(50)]
    refused, stored, history, _, _ = await race(STRICT, rivals)
    assert refused and stored.startswith(b"DE")
    assert {writer for writer, _, _ in history} == {"device"}


@pytest.mark.parametrize("size", [4, 8])
async def test_reads_are_consistent_during_device_writes(dialect, size):
    """A change of the device between two reads is detected, and the read starts again."""
    device = Racing()
    async with ModelSystem([{0: device}], revision=dialect) as system:
        dev = await system.drivers[0].probe(0)
        words = [bytes([n]) * 8 for n in range(3)]
        device.update_config(0, words[0])

        def change(way, fifo, raw):
            if raw[1] == 5 and not raw[0] and words[1:]:
                device.update_config(0, words.pop(1))

        system.device_side.observers.append(change)
        seen = await dev.read_config(0, size)
        assert len(set(seen)) == 1
