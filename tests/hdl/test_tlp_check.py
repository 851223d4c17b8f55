# SPDX-License-Identifier: BSD-2-Clause
"""The check of received TLPs: types, lengths and payloads, by PCI Express Base 4.0 section 2.3."""

from itertools import zip_longest

import pytest
from simulation import simulate
from streams import drive, geometry, seeded

from hdl.tlp import DATA_WIDTHS
from hdl.tlp_check import TlpCheck
from models.config_space import coded_size
from testbench.tlp import Tlp, TlpKind
from testbench.tlp.rules import is_malformed

MESSAGES = [fmt << 5 | 0b10000 | routing for fmt in (1, 3) for routing in range(6)]
DEFINED = [*TlpKind, *MESSAGES]
RESERVED_ROUTING = [0x36, 0x37, 0x76, 0x77]
UNDEFINED = sorted(set(range(256)) - {*DEFINED, *RESERVED_ROUTING})

# Unlock, PM_Active_State_Nak, PME_Turn_Off, the Ignored Messages, Set_Slot_Power_Limit and
# Vendor_Defined Type 1.
IGNORED = [0x00, 0x14, 0x19, 0x40, 0x41, 0x43, 0x44, 0x45, 0x47, 0x48, 0x50, 0x7F]
LATENCY = 3


def random_tlp(rng):
    """A TLP of any kind, mostly with a payload of the length in its header."""
    kind = rng.choice([TlpKind.MWR32, TlpKind.CPLD, TlpKind.MRD32, *DEFINED])
    if rng.random() < 0.1:
        kind = rng.choice(UNDEFINED)
    length = rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 64, rng.randint(1, 80)])
    dwords = 0
    if kind & 0x40:
        dwords = length
        if rng.random() < 0.2:
            dwords = max(length + rng.choice([-17, -5, -1, 1, 2, 16]), 1)
    elif rng.random() < 0.1:
        # In the first beat of a TLP without payload, the data is undefined.
        dwords = 20
    td = rng.random() < 0.1
    fields = {"first_be": rng.getrandbits(4), "last_be": rng.getrandbits(4), "byte_count": 4}
    if kind in MESSAGES and rng.random() < 0.5:
        code = rng.choice(IGNORED)
        fields |= {"first_be": code & 0xF, "last_be": code >> 4}
    return Tlp(kind, length=length, td=td, payload=rng.randbytes(4 * dwords), **fields)


def beats_of(tlp, width, rng):
    """The beats of a TLP; some lack their end, or have it too late."""
    beats = list(tlp.beats(width))
    if not tlp.payload:
        # Undefined.
        del beats[0]["strb"]
    if tlp.kind & 0x40 and not tlp.td and rng.random() < 0.1:
        beats = beats[: rng.randint(1, len(beats))]
        beats[-1]["eop"] = 0
    return beats


def first_wrong_beat(tlp, beats, max_payload, width):
    """The number of the first beat that shows that a TLP is malformed, None if it is not.

    The beat after the last one means a missing end.
    """
    if tlp.kind not in DEFINED or (tlp.kind & 0x40 and 4 * tlp.length > max_payload):
        return 0
    if tlp.td:
        return None
    size = 4 * tlp.length if tlp.kind & 0x40 else 0
    expected = list(tlp.replace(payload=bytes(size)).beats(width))
    for number, (found, right) in enumerate(zip_longest(beats, expected)):
        if found is None or right is None:
            return number
        if found["eop"] != right["eop"] or (size and found["strb"] != right["strb"]):
            return number
    return None


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_malformed_tlps_are_found(width):
    dut = TlpCheck(geometry(width))
    rng = seeded(width)
    expected, found = set(), set()
    discarded = {True: 0, False: 0}
    now = 0

    async def bench(ctx):
        nonlocal now

        async def step():
            nonlocal now
            _, _, malformed = await ctx.tick().sample(dut.malformed)
            if malformed:
                found.add(now)
            now += 1

        async def idle():
            ctx.set(dut.accepted, 0)
            drive(ctx, dut.beat, {}, rng)
            await step()

        missing_end = False
        for _ in range(120):
            if rng.random() < 0.2:
                code = rng.randrange(8)
                ctx.set(dut.max_payload_size, code)
                await idle()
                await idle()
                max_payload = coded_size(code)
            elif not now:
                max_payload = coded_size(0)
                await idle()
                await idle()
            tlp = random_tlp(rng)
            beats = beats_of(tlp, width, rng)
            wrong = first_wrong_beat(tlp, beats, max_payload, width)
            ignored = tlp.kind in MESSAGES and tlp.last_be << 4 | tlp.first_be in IGNORED
            for number, beat in enumerate(beats):
                while rng.random() < 0.2:
                    await idle()
                ctx.set(dut.accepted, 1)
                if number:
                    del beat["hdr"]
                drive(ctx, dut.beat, beat, rng)
                if number == 0:
                    assert ctx.get(dut.discard) == (ignored or wrong == 0), str(tlp)
                    discarded[wrong == 0] += 1
                    if missing_end:
                        expected.add(now + LATENCY)
                if number == wrong:
                    expected.add(now + LATENCY)
                await step()
            # The first beat of the next TLP shows it.
            missing_end = not beats[-1]["eop"]
            complete = len(beats) * width // 8 >= len(tlp.payload)
            if complete and beats[-1]["eop"] and tlp.kind in DEFINED:
                assert (wrong is not None) == is_malformed(tlp, max_payload)
        for _ in range(LATENCY + 1):
            await idle()

    simulate(dut, bench)
    assert found == expected
    assert all(discarded.values())
