# SPDX-License-Identifier: BSD-2-Clause
"""The packet check: 8 bytes to a slot, without gaps."""

import pytest
from simulation import simulate
from streams import drive, geometry, seeded

from hdl.queues.packet_check import PacketCheck
from hdl.tlp import DATA_WIDTHS
from models.layout import MIN_MESSAGE


def random_packet(rng, step, slot):
    """Byte enables of the beats of a packet: a message, or one with a wrong size or a gap."""
    size = rng.choice([rng.randint(1, slot), slot, MIN_MESSAGE, slot + rng.randint(1, slot)])
    beats = [[True] * min(step, size - at) for at in range(0, size, step)]
    beats[-1] += [False] * (step - len(beats[-1]))
    if rng.random() < 0.2:
        beats[rng.randrange(len(beats))][rng.randrange(step)] = False
    return beats


def is_message(beats, slot):
    """Whether the bytes are consecutive, in each beat, and as many as a message has."""
    enabled = [bit for beat in beats for bit in beat]
    size = sum(enabled)
    return MIN_MESSAGE <= size <= slot and all(enabled[:size]) and all(map(any, beats))


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_packets_that_cannot_be_messages(width):
    g = geometry(width)
    dut = PacketCheck(g)
    rng = seeded(width)
    slot = g.layout.queue.slot_size
    verdicts = set()

    async def bench(ctx):
        for _ in range(150):
            packet = random_packet(rng, g.word_bytes, slot)
            malformed = 0
            for place, beat in enumerate(packet):
                tkeep = sum(bit << byte for byte, bit in enumerate(beat))
                last = place == len(packet) - 1
                drive(ctx, dut.beat, {"tkeep": tkeep, "tlast": last}, rng)
                ctx.set(dut.first, place == 0)
                ctx.set(dut.last_word, place == g.slot_words - 1)
                while rng.random() < 0.3:
                    ctx.set(dut.accepted, 0)
                    await ctx.tick()
                ctx.set(dut.accepted, 1)
                malformed = ctx.get(dut.malformed)
                # The engine discards the rest of a packet that is longer than a slot.
                if place == g.slot_words - 1 and not last:
                    break
                # Once malformed, a packet stays so.
                whole = all(all(earlier) for earlier in packet[: place + 1])
                assert malformed == (not whole) or last
                await ctx.tick()
            assert malformed == (not is_message(packet, slot))
            verdicts.add(malformed)
            await ctx.tick()

    simulate(dut, bench)
    assert verdicts == {0, 1}
