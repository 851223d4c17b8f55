# SPDX-License-Identifier: BSD-2-Clause
"""Malformed TLPs, and TLPs of kinds that an endpoint does not support.

A malformed TLP is discarded, gets no answer and is a fatal error (PCI Express Base 4.0 sections
2.2.1, 2.2.2, 2.3 and 6.2.7). A hard block does not forward it to the core.
"""

import random
from dataclasses import dataclass

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

from hdl.tlp import IGNORED_MESSAGES
from models import config_space as space
from models.shell import AMP_PCI
from testbench.axi.channels import drive_idle
from testbench.counters import CounterReader
from testbench.host.bfm import EndpointBfm
from testbench.timing import CLOCK_PERIOD_NS, RESET_CYCLES
from testbench.tlp import COMPLETIONS, MEMORY_WRITES, NON_POSTED, Tlp, TlpKind
from testbench.tlp.packets import completion, config_read, config_write, memory_read, memory_write
from tests.regressions.queue_host import SEED, QueueBench, expect_unsupported

AREA = 0x3000
"""A page of the FIFO BAR that no queue uses."""
DWORD = b"\xff" * 4
MESSAGES = {fmt << 5 | 0b10000 | routing for fmt in (0b001, 0b011) for routing in range(8)}
DETECTED = {
    "correctable": space.CORRECTABLE_ERROR_DETECTED,
    "non_fatal": space.NON_FATAL_ERROR_DETECTED,
    "fatal": space.FATAL_ERROR_DETECTED,
    "unsupported": space.UNSUPPORTED_REQUEST_DETECTED,
}
ANSWERED = {"correctable", "unsupported"}
DROPPED = {"non_fatal", "unsupported"}
MALFORMED = {"fatal"}


class MalformedBench(QueueBench):
    """A bench that checks Device Status, and RAM that must not change."""

    async def start(self, **options):
        await super().start(**options)
        self.counters = CounterReader(self.dut)
        self.target = self.host.device_id
        self.area = self.host.bars[AMP_PCI.fifo_bar] + AREA
        self.content = bytearray(random.Random(SEED).randbytes(1024))
        await self.store_bytes(AREA, bytes(self.content))

    async def send(self, tlp):
        await self.host.send(tlp)

    async def detected(self):
        """Read and clear the errors in Device Status."""
        await self.settle(6)
        value = await self.host.config_read(space.DEVICE_CONTROL)
        await self.host.config_write(space.DEVICE_CONTROL, value)
        return {name for name, field in DETECTED.items() if field.of(value)}

    async def expect(self, expected, description):
        got = await self.detected()
        assert got == expected, f"{description}: {got} instead of {expected}"

    async def check(self):
        """Check the RAM; this also shows that requests are served."""
        got = await self.host.bar_read(AMP_PCI.fifo_bar, AREA, len(self.content))
        assert got == bytes(self.content)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_format_and_type(dut):
    """Of all 256 pairs of Fmt and Type, each defined one has its effect, all others are
    malformed."""
    bench = MalformedBench(dut)
    await bench.start()
    await bench.detected()
    rng = random.Random(SEED)
    # Random order: each TLP also shows that the one before it left no state behind.
    for first_byte in rng.sample(range(256), 256):
        # Compare and Swap has two operands.
        length = 2 if first_byte in (TlpKind.CAS32, TlpKind.CAS64) else 1
        fields = {"address": bench.area, "first_be": 0xF, "length": length}
        if first_byte & 0x40:
            fields["payload"] = DWORD * length
        if first_byte in COMPLETIONS:
            # A tag without an outstanding read.
            fields |= {"address": 0, "first_be": 0, "tag": 9, "byte_count": 4}
            fields["length"] = len(fields.get("payload", b"")) // 4
        tlp = Tlp(first_byte, **fields)
        description = f"first byte {first_byte:#04x}, seed {SEED}"
        if first_byte in (TlpKind.CFGRD0, TlpKind.CFGWR0):
            request = tlp.replace(completer_id=bench.target, address=0)
            assert (await bench.host.request(request))[0].status == 0, description
            await bench.expect(set(), description)
        elif first_byte in (TlpKind.MRD32, TlpKind.MRD64):
            answers = await bench.host.request(tlp)
            assert answers[0].payload == bench.content[:4], description
            await bench.expect(set(), description)
        elif first_byte in MEMORY_WRITES:
            bench.content[:4] = rng.randbytes(4)
            await bench.send(tlp.replace(payload=bytes(bench.content[:4])))
            await bench.expect(set(), description)
        elif first_byte in NON_POSTED:
            await expect_unsupported(bench, tlp)
            await bench.expect(ANSWERED, description)
        elif first_byte in COMPLETIONS:
            await bench.send(tlp)
            await bench.expect({"correctable"}, description)
        elif first_byte in MESSAGES:
            # Message code 0x0F is not defined.
            await bench.send(tlp)
            await bench.expect(DROPPED, description)
        else:
            await bench.send(tlp)
            await bench.expect(MALFORMED, description)
        await bench.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def every_message_code(dut):
    """Messages without a meaning for an endpoint are ignored, all others are unsupported. None is
    answered, with any routing and payload."""
    rng = random.Random(SEED)
    bench = MalformedBench(dut)
    await bench.start()
    await bench.detected()
    for code in rng.sample(range(256), 256):
        kind = rng.choice(sorted(MESSAGES))
        dwords = rng.choice([1, 2, 16]) if kind & 0x40 else 0
        tlp = Tlp(
            kind,
            length=dwords,
            first_be=code & 0xF,
            last_be=code >> 4,
            # The third and fourth dword of a message are not an address, even if they match a BAR.
            address=bench.area,
            payload=rng.randbytes(4 * dwords),
        )
        await bench.send(tlp)
        ignored = code in IGNORED_MESSAGES
        await bench.expect(set() if ignored else DROPPED, f"code {code:#04x} in {kind:#04x}")
        steps = bench.counters.increments()
        assert steps == ({} if ignored else {"unsupported_requests": 1}), f"code {code:#04x}"
    await bench.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def payload_length_mismatch_is_malformed(dut):
    """A write whose payload length differs from Length is discarded where the first beat shows it;
    otherwise exactly the shorter of both lengths is written."""
    rng = random.Random(SEED)
    bench = MalformedBench(dut)
    await bench.start()
    await bench.detected()
    lanes = bench.parameters.data_width // 32
    sizes = sorted({1, 2, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes - 1, 3 * lanes})
    cases = [(length, actual) for length in sizes for actual in sizes if length != actual]
    for length, actual in rng.sample(cases, len(cases)):
        for kind in (TlpKind.MWR32, TlpKind.MWR64):
            payload = rng.randbytes(4 * actual)
            offset = 4 * rng.randrange(64)
            last = 0xF if length > 1 else 0
            await bench.send(
                Tlp(
                    kind,
                    length=length,
                    address=bench.area + offset,
                    first_be=0xF,
                    last_be=last,
                    payload=payload,
                )
            )
            if min(length, actual) > lanes:
                common_bytes = 4 * min(length, actual)
                bench.content[offset : offset + common_bytes] = payload[:common_bytes]
            await bench.expect(MALFORMED, f"Length {length}, {actual} dwords of payload")
            await bench.check()
    request_fields = {"address": bench.area, "first_be": 0xF}
    long = bytes(4 * (lanes + 1))
    for tlp in (
        config_write(bench.target, 0x3C, 0xFF, payload=b""),
        config_write(bench.target, 0x3C, 0xFF, payload=DWORD * 2),
        config_write(bench.target, 0x3C, 0xFF, payload=long),
        config_read(bench.target, 0, payload=long),
        Tlp(TlpKind.MRD32, length=1, payload=long, **request_fields),
        Tlp(TlpKind.IOWR, length=1, payload=long, **request_fields),
        Tlp(TlpKind.FETCHADD32, length=1, payload=b"", **request_fields),
        Tlp(0x74, length=1, payload=long),
        Tlp(0x34, payload=long),
    ):
        # None of them is answered: host and monitor report unexpected completions.
        await bench.send(tlp.replace(tag=0xEE))
        await bench.expect(MALFORMED, str(tlp))
    assert await bench.host.config_read(0x3C, 1) == 0
    assert bench.counters.increments() == {}
    await bench.check()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def payload_above_max_payload_size_is_malformed(dut):
    """For every Max_Payload_Size, a payload of that size is accepted, one dword more malformed."""
    rng = random.Random(SEED)
    bench = MalformedBench(dut)
    await bench.start()
    field = space.MAX_PAYLOAD_SIZE
    control = await bench.host.config_read(field.offset, 2) & ~field.mask
    base = bench.host.bars[AMP_PCI.fifo_bar]
    for code in range(space.LARGEST_SIZE_CODE + 1):
        size = space.coded_size(code)
        await bench.host.config_write(field.offset, control | code << field.lsb, 2)
        await bench.detected()
        payload_sent = rng.randbytes(size)
        await bench.send(memory_write(base + AREA, payload_sent))
        await bench.expect(set(), f"{size} bytes")
        if size < 0x1000:
            await bench.send(memory_write(base + AREA, bytes(size + 4)))
            await bench.expect(MALFORMED, f"{size} bytes and 4 more")
            # The same for an unexpected completion: its length is checked first.
            stray = completion(memory_read(0, size + 4), 0, bytes(size + 4))
            await bench.send(stray)
            await bench.expect(MALFORMED, f"completion of {size} bytes and 4 more")
        assert await bench.host.bar_read(AMP_PCI.fifo_bar, AREA, size) == payload_sent
    assert bench.counters.increments() == {}
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def digest_is_ignored(dut):
    """TD and a digest are ignored, whether the link removed the digest or not."""
    rng = random.Random(SEED)
    bench = MalformedBench(dut)
    await bench.start()
    await bench.detected()
    lanes = bench.parameters.data_width // 32
    for dwords in (1, lanes, lanes + 1):
        for trailer in (b"", DWORD):
            data = rng.randbytes(4 * dwords)
            tlp = memory_write(bench.area, data, td=1)
            await bench.send(tlp.replace(payload=data + trailer))
            bench.content[: len(data)] = data
            await bench.check()
            request = memory_read(bench.area, len(data), td=1)
            answers = await bench.host.request(request.replace(payload=trailer))
            assert b"".join(answer.payload for answer in answers) == data
    value = await bench.host.request(config_read(bench.target, 0, td=1, payload=DWORD))
    assert value[0].payload[:2] == AMP_PCI.vendor_id.to_bytes(2, "little")
    await bench.expect(set(), "digest")
    await bench.finish()


@dataclass
class Beats:
    """Beats to send in place of a TLP's own."""

    sequence: list

    def beats(self, data_width):
        return iter(self.sequence)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def lost_beats_do_not_affect_the_next_tlp(dut):
    """A TLP that starts before the previous one ends, and beats without a TLP, do not affect the
    next whole TLP. There is no monitor: it requires a stream of whole TLPs."""
    rng = random.Random(SEED)
    Clock(dut.clk, CLOCK_PERIOD_NS, "ns", impl="gpi").start()
    for name in ("s_axis_msg_tvalid", "m_axis_msg_tready"):
        getattr(dut, name).value = 0
    drive_idle(dut)
    host = EndpointBfm(dut)
    dut.rst.value = 1
    await ClockCycles(dut.clk, RESET_CYCLES)
    dut.rst.value = 0
    await host.start()
    width = len(dut.rx_tlp_data)
    base = host.bars[AMP_PCI.fifo_bar] + AREA
    target = host.device_id
    content = rng.randbytes(256)
    await host.bar_write(AMP_PCI.fifo_bar, AREA, content)
    victims = [
        memory_write(base + 256, bytes(256)),
        memory_read(base, 4, tag=1),
        config_write(target, 0x3C, 0xFF, tag=2),
        completion(memory_read(0, 256), 0, bytes(256)),
        Tlp(0x74, length=64, payload=bytes(256)),
        Tlp(TlpKind.IOWR, address=base, length=1, first_be=0xF, payload=DWORD, tag=3),
    ]
    received = []
    host.requester.receive = received.append
    for victim in rng.choices(victims, k=60):
        beats = list(victim.beats(width))
        truncated = rng.random() < 0.5
        if not truncated:
            # Remove its start.
            for beat in beats:
                beat["sop"] = 0
            beats[-1]["eop"] = rng.randrange(2)
        else:
            # Remove its end.
            beats = beats[: max(1, rng.randrange(len(beats)))]
            beats[-1]["eop"] = 0
        host.send_nowait(Beats(beats))
        # A whole read follows, and it alone is answered.
        marker = memory_read(base + 4 * rng.randrange(64), 4, requester_id=0x1234, tag=7)
        await host.send(marker)
        await ClockCycles(dut.clk, 40)
        expected = [(marker.requester_id, content[marker.address - base :][:4])]
        got = [(answer.requester_id, answer.payload) for answer in received]
        assert got == expected, f"{victim}, seed {SEED}"
        received.clear()
        # Beats without a start are not a malformed TLP.
        read = config_read(target, space.DEVICE_CONTROL, tag=8)
        await host.send(read)
        await host.send(config_write(target, read.address, space.FATAL_ERROR_DETECTED.mask, 0xC))
        await ClockCycles(dut.clk, 40)
        value = int.from_bytes(received[0].payload, "little")
        assert space.FATAL_ERROR_DETECTED.of(value) == truncated, f"{victim}, seed {SEED}"
        received.clear()
    del host.requester.receive
    assert await host.bar_read(AMP_PCI.fifo_bar, AREA, 256) == content
    assert await host.config_read(0x3C, 1) == 0
