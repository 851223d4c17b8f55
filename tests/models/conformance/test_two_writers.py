# SPDX-License-Identifier: BSD-2-Clause
"""Two writers on one word of configuration: the device changes it while the driver writes it."""

import pytest
from conformance_support import PROFILES, STRICT, Plain

from models.driver import ConfigError
from models.messages import V1
from models.system import ModelSystem


class Racing(Plain):
    """Changes its first word just before each of the next ``rivals`` writes takes effect."""

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


@pytest.fixture(params=[V1, *PROFILES.values()], ids=["v1", *PROFILES])
def dialect(request):
    return request.param


async def race(dialect, rivals):
    """The driver writes, the device writes when the request has left; both words in the end."""
    device = Racing()
    async with ModelSystem([{0: device}], revision=dialect) as system:
        dev = await system.drivers[0].probe(0)
        await dev.read_config(0, 8)
        device.rivals = list(rivals)
        side = system.device_side
        # The request is on its way when the device changes the word.
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


async def test_both_writes_have_an_order_and_both_sides_know_it(dialect):
    refused, stored, history, generation, device = await race(dialect, [b"DEV1"])
    assert not refused and stored == b"DRIV"
    assert [who for who, _, _ in history] == ["device", "driver"]
    # Each change counts, so that a reader in between notices either.
    assert generation == device.generation == 2


async def test_stale_write_of_the_strict_profile_changes_nothing_until_it_is_sent_again():
    refused, stored, history, generation, _ = await race(STRICT, [b"DEV1", b"DEV2", b"DEV3"])
    assert not refused and stored == b"DRIV" and generation == 4
    assert history[:3] == [("device", word, True) for word in (b"DEV1", b"DEV2", b"DEV3")]
    assert history[3] == ("driver", b"DRIV", True)


async def test_device_that_never_rests_keeps_its_word_in_the_strict_profile():
    rivals = [f"DE{n:02}".encode() for n in range(50)]
    refused, stored, history, _, _ = await race(STRICT, rivals)
    assert refused and stored.startswith(b"DE")
    assert {who for who, _, _ in history} == {"device"}


@pytest.mark.parametrize("size", [4, 8])
async def test_reader_never_sees_half_of_either(dialect, size):
    """A change of the device between two reads is noticed, and the read begins again."""
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
