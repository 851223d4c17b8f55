# SPDX-License-Identifier: BSD-2-Clause
"""The request decoder: classification of every TLP type, and byte enables of every beat."""

import pytest
from streams import UNTHROTTLED, Bench, geometry, packets_of

from hdl.ingress.decoder import RequestDecoder
from hdl.requests import BLOCK_BITS, Target
from hdl.tlp import DATA_WIDTHS
from testbench.tlp import (
    ATOMICS,
    COMPLETIONS,
    CONFIG_REQUESTS,
    LOCKED_READS,
    MEMORY_READS,
    MEMORY_WRITES,
    Tlp,
)
from testbench.tlp import TlpKind as Kind

MESSAGES = [fmt << 5 | 0b10000 | routing for fmt in (1, 3) for routing in range(6)]
PREFIXES = [0x80, 0x8E, 0x90, 0x8A, 0x81]
ADDRESSED = MEMORY_READS | MEMORY_WRITES
TARGETS = {0: Target.REGISTERS, 1: Target.FIFOS, 2: Target.MSIX}


def request(rng):
    """A TLP of any kind with random fields. A payload may be longer or shorter than its length."""
    kind = rng.choice([Kind.MWR32, Kind.MWR64] * 4 + [*Kind] + MESSAGES + PREFIXES)
    length = rng.choice([1, 2, 3, 4, 5, 8, 15, 16, 17, rng.randint(1, 64)])
    if kind & 0x40:
        dwords = max(length + rng.choice([0, 0, 0, -1, 1, -5, 5]), 1)
    else:
        dwords = 0
        length = rng.choice([length, 1024])
    if kind in (Kind.CAS32, Kind.CAS64):
        length = rng.choice([2, 4])
    address_bits = 16 if kind in CONFIG_REQUESTS else 64 if kind & 0x20 else 32
    return Tlp(
        kind,
        length=length,
        requester_id=rng.getrandbits(16),
        tag=rng.getrandbits(8),
        first_be=rng.getrandbits(4),
        last_be=rng.getrandbits(4),
        address=rng.getrandbits(address_bits) & ~3,
        tc=rng.getrandbits(3),
        attr=rng.getrandbits(3),
        ep=rng.getrandbits(1),
        payload=rng.randbytes(4 * dwords),
        # Of a completion; its byte count and lower address take the place of byte enables.
        byte_count=rng.randint(1, 4095),
    )


def expected_first(tlp, bar_id, function):
    """Fields of the first decoded beat that the rules determine."""
    prefix = tlp.kind >= 0x80
    message = not prefix and tlp.kind & 0x18 == 0x10
    completion = tlp.kind in COMPLETIONS
    posted = tlp.kind in MEMORY_WRITES or message or completion or prefix
    fields = {
        "memory": tlp.kind in ADDRESSED - LOCKED_READS,
        "write": tlp.kind in MEMORY_WRITES,
        "posted": posted,
        "needs_completion": not posted,
        "poisoned": tlp.ep,
        "other_function": function != 0,
        "target": TARGETS.get(bar_id, Target.NONE).value,
    }
    if not prefix:
        fields |= {"locked": tlp.kind in LOCKED_READS, "completion": completion}
    if not completion and not prefix:
        fields |= {"requester_id": tlp.requester_id, "tag": tlp.tag}
        fields |= {"tc": tlp.tc, "attr": tlp.attr & 3, "ido": tlp.attr >> 2}
    if tlp.kind in ADDRESSED:
        fields |= {
            "length_m1": tlp.length - 1,
            "first_be": tlp.first_be,
            "last_be": tlp.last_be,
        }
    elif not posted:
        # The completion has lower address 0 and byte count 4, or the size of an operand.
        operands = 2 if tlp.kind in (Kind.CAS32, Kind.CAS64) else 1
        dwords = tlp.length // operands if tlp.kind in ATOMICS else 1
        fields |= {"address": 0, "length_m1": dwords - 1, "first_be": 0xF, "last_be": 0xF}
    return fields


def enabled(tlp, dword):
    """Byte enables of a dword of the payload."""
    if dword >= tlp.length or 4 * dword >= len(tlp.payload):
        return 0
    if dword == 0:
        return tlp.first_be
    return tlp.last_be if dword == tlp.length - 1 else 0xF


def check(tlp, bar_id, function, beats, lanes):
    first = beats[0]
    for name, value in expected_first(tlp, bar_id, function).items():
        assert first[name] == value, f"{name} of {tlp}: {first[name]}"
    if tlp.kind in ADDRESSED:
        bits = geometry(32 * lanes).dword_address_bits
        dword = tlp.address // 4
        assert first["address"] == dword & (1 << bits) - 1
        for place, bit in enumerate(BLOCK_BITS):
            if tlp.length <= 1 << bit:
                crosses = dword >> bit != dword + tlp.length - 1 >> bit
                assert first["crosses"] >> place & 1 == crosses
    sent = list(tlp.beats(32 * lanes))
    assert len(beats) == len(sent)
    if tlp.kind in MEMORY_WRITES:
        for number, (beat, given) in enumerate(zip(beats, sent, strict=True)):
            assert beat["data"] == given["data"]
            enables = sum(enabled(tlp, number * lanes + lane) << 4 * lane for lane in range(lanes))
            assert beat["enables"] == enables, f"beat {number} of {tlp}"


def packets(bench, width, sent):
    """Beats of random requests, some of which are discarded; the others are added to ``sent``."""
    rng = bench.rng
    while True:
        tlp, bar_id, function = request(rng), rng.randrange(8), rng.choice([0, 0, 0, 1, 128])
        beats = [beat | {"discard": 0} for beat in tlp.beats(width)]
        beats[0] |= {"bar_id": bar_id, "func_num": function}
        if not tlp.has_data:
            # Undefined in a TLP without payload.
            del beats[0]["strb"], beats[0]["data"]
        for beat in beats[1:]:
            del beat["hdr"]
        if rng.random() < 0.1:
            beats = [beats[0] | {"discard": 1}]
        else:
            sent.append((tlp, bar_id, function))
        yield beats


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_every_type_is_decoded(width):
    dut = RequestDecoder(geometry(width))
    bench = Bench(dut, width)
    sent = []
    bench.source(dut.i, packets(bench, width, sent), discard=dut.discard)
    received = bench.sink(dut.o)
    bench.run()
    found = packets_of(received)
    assert len(found) == len(sent) > 5
    for (tlp, bar_id, function), beats in zip(sent, found, strict=True):
        check(tlp, bar_id, function, beats, width // 32)


def test_one_beat_per_cycle():
    dut = RequestDecoder(geometry(64))
    bench = Bench(dut, paces=UNTHROTTLED)
    tlp = Tlp(Kind.MWR32, length=8, payload=bytes(32))
    beats = [beat | {"discard": 0, "bar_id": 0, "func_num": 0} for beat in tlp.beats(64)]
    bench.source(dut.i, [beats] * 8, discard=dut.discard)
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert cycles == list(range(cycles[0], cycles[0] + 32))
