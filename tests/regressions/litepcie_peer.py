# SPDX-License-Identifier: BSD-2-Clause
"""LitePCIe as the host: it decodes the endpoint's TLPs and generates those sent to it.

Its codec covers a part of PCI Express: addresses below 4 GiB, and in generated packets one dword or
whole beats, in a completion at least two. The depacketizer loses the last dword of longer packets
that fill their last beat. The tests stay within these limits; ``tests/test_litepcie.py`` runs them.
"""

import os
import random

import cocotb
from cocotb.clock import Clock
from cocotb.queue import Queue
from cocotb.triggers import ClockCycles

from models import config_space as space
from models.shell import AMP_PCI, MSIX_ENTRY_SIZE
from testbench.axi.dma import AxiDma, random_pauses
from testbench.hard_block.block import BlockSide, Series7Block
from testbench.stream.axis import AxisMessageSource
from testbench.timing import CLOCK_PERIOD_NS
from testbench.tlp import Tlp, TlpKind, pcie_id
from testbench.tlp.packets import byte_enables, enabled_bytes

SEED = int(os.environ["COCOTB_RANDOM_SEED"])
HOST, CARD = pcie_id(0, 0), pcie_id(0x2A, 0)
MAX_PAYLOAD_SIZE = 128
OUTSTANDING_BYTES = 1024
"""Bytes of reads outstanding at a time; less than the block's completion buffer holds."""
STATIC = 0x3000
"""A page of the FIFO BAR that no queue uses."""
MEMORY = 0x1234_0000
"""Address of the host's memory."""
TIME_LIMIT = {"timeout_time": 200, "timeout_unit": "us"}
NO_BAR = None


def split_into_beats(data, lanes):
    """Split data into beats of ``lanes`` dwords."""
    step = 4 * lanes
    return [int.from_bytes(data[at : at + step], "little") for at in range(0, len(data), step)]


class Bundle:
    """Signals of one of the peer's streams."""

    def __init__(self, dut, name):
        self.clk = dut.clk
        self._dut, self._name = dut, name
        self.lanes = len(self["dat"]) // 32

    def __getitem__(self, signal):
        return getattr(self._dut, f"{self._name}_{signal}")


class PacketSource(Bundle):
    """Drives a stream of the packetizer."""

    def __init__(self, dut, name):
        super().__init__(dut, name)
        self["valid"].value = 0

    async def send(self, data=b"", **fields):
        """Send one packet; return when its last beat is accepted."""
        for field, value in fields.items():
            self[field].value = value
        beats = split_into_beats(data, self.lanes) or [0]
        for position, beat in enumerate(beats):
            self["dat"].value = beat
            self["first"].value = position == 0
            self["last"].value = position == len(beats) - 1
            self["valid"].value = 1
            await self.clk.rising_edge
            while self["ready"].value != "1":
                await self.clk.rising_edge
        self["valid"].value = 0


class PacketSink(Bundle):
    """Collects the depacketizer's packets, with random stalls."""

    def __init__(self, dut, name, fields, rng):
        super().__init__(dut, name)
        self._fields = fields
        self._rng = rng
        self.packets = Queue()
        cocotb.start_soon(self._run())

    async def get(self):
        """Wait for a packet: its fields, constant over its beats, and ``dwords``."""
        return await self.packets.get()

    async def _run(self):
        packet, dwords = None, []
        while True:
            self["ready"].value = self._rng.random() < 0.7
            await self.clk.rising_edge
            if self["valid"].value != "1" or self["ready"].value != "1":
                continue
            fields_of_packet = {field: int(self[field].value) for field in self._fields}
            assert bool(self["first"].value) == (packet is None)
            assert packet in (None, fields_of_packet)
            packet = fields_of_packet
            beat = int(self["dat"].value)
            dwords += [beat >> 32 * lane & 0xFFFF_FFFF for lane in range(self.lanes)]
            if self["last"].value == "1":
                self.packets.put_nowait({**packet, "dwords": dwords})
                packet, dwords = None, []


REQUEST = ("we", "adr", "len", "req_id", "tag", "first_be", "last_be")
ANSWER = ("req_id", "cmp_id", "adr", "len", "end", "err", "tag")


def data_of(packet):
    """The payload, without the padding of its last beat."""
    dwords = packet["dwords"][: packet["len"]]
    assert len(dwords) == packet["len"], f"{len(dwords)} dwords of {packet['len']}"
    return b"".join(dword.to_bytes(4, "little") for dword in dwords)


class LitePcieHost:
    """Host of the endpoint: LitePCIe on its streams, and the block's pins."""

    def __init__(self, dut, **dma_options):
        self.rng = random.Random(SEED)
        self.dut = BlockSide(dut, Series7Block.aliases)
        Clock(self.dut.clk, CLOCK_PERIOD_NS, "ns", impl="gpi").start()
        self.dut.rst.value = 1
        self.requests = PacketSink(self.dut, "requests", REQUEST, self.rng)
        self.answers = PacketSink(self.dut, "answers", ANSWER, self.rng)
        self.ask = PacketSource(self.dut, "ask")
        self.complete = PacketSource(self.dut, "complete")
        self.lanes = self.ask.lanes
        self.messages = AxisMessageSource(self.dut)
        pauses = random_pauses(self.rng.getrandbits(32))
        self.dma = AxiDma(self.dut, pauses=pauses, **dma_options)
        self._tag = 0

    async def start(self):
        """Reset the endpoint, with everything enabled."""
        for name, value in {
            "bars": 0,
            "m_axis_msg_tready": 1,
            "cfg_bus_number": CARD >> 8,
            "cfg_device_number": 0,
            "cfg_function_number": 0,
            "cfg_command": space.MEMORY_SPACE_ENABLE.mask | space.BUS_MASTER_ENABLE.mask,
            "cfg_dcommand": space.size_code(MAX_PAYLOAD_SIZE) << space.MAX_PAYLOAD_SIZE.lsb
            | space.size_code(512) << space.MAX_READ_REQUEST_SIZE.lsb,
            "cfg_lcommand": 0,
            "cfg_interrupt_msixenable": 1,
            "cfg_interrupt_msixfm": 0,
            "cfg_received_func_lvl_rst": 0,
            "cfg_to_turnoff": 0,
        }.items():
            getattr(self.dut, name).value = value
        await ClockCycles(self.dut.clk, 5)
        self.dut.rst.value = 0
        await self.dut.clk.rising_edge

    def finish(self):
        """Check that no unexpected packet is left."""
        assert self.requests.packets.empty() and self.answers.packets.empty()

    def can_write(self, dwords):
        """Whether the packetizer supports a write of so many dwords."""
        return dwords == 1 or dwords % self.lanes == 0

    def can_complete(self, dwords):
        """Whether the packetizer supports a completion of so many dwords."""
        return self.can_write(dwords) and dwords != self.lanes

    def can_decode(self, dwords):
        """Whether the depacketizer keeps all of so many dwords."""
        return dwords == 1 or (dwords - 1) % self.lanes != 0

    async def _send(self, bar, **fields):
        # LitePCIe has no BARs: set those of the packet in flight.
        self.dut.bars.value = 0 if bar is NO_BAR else 1 << bar
        await self.ask.send(req_id=HOST, **fields)
        await ClockCycles(self.dut.clk, 2 * fields["len"] + 10)

    async def write(self, bar, offset, data):
        """Write whole dwords to a BAR."""
        await self._send(bar, we=1, adr=bar << 24 | offset, len=len(data) // 4, tag=0, data=data)

    async def read(self, bar, offset, size):
        """Read whole dwords of a BAR; return the answers, all checked except for ``err``."""
        self._tag = self._tag + 1 & 0xFF
        tag, at, answers = self._tag, offset, []
        await self._send(bar, we=0, adr=offset, len=size // 4, tag=tag)
        while not answers or at < offset + size:
            answer = await self.answers.get()
            answers.append(answer)
            assert (answer["req_id"], answer["tag"]) == (HOST, tag)
            assert answer["cmp_id"] == CARD
            if answer["err"]:
                break
            assert answer["adr"] == at & 0x7F
            at += 4 * answer["len"]
            assert answer["end"] == (at == offset + size)
        return answers

    async def read_bytes(self, bar, offset, size):
        """Read bytes of a BAR."""
        answers = await self.read(bar, offset, size)
        assert not any(answer["err"] for answer in answers)
        return b"".join(map(data_of, answers))


@cocotb.test(**TIME_LIMIT)
async def bar_accesses(dut):
    """Writes and reads of every size that LitePCIe supports, and reads with several completions."""
    host = LitePcieHost(dut)
    await host.start()
    bar, rng = AMP_PCI.fifo_bar, host.rng
    content = bytearray(rng.randbytes(512))
    for at in range(0, len(content), MAX_PAYLOAD_SIZE):
        await host.write(bar, STATIC + at, content[at : at + MAX_PAYLOAD_SIZE])
    for dwords in filter(host.can_write, range(1, MAX_PAYLOAD_SIZE // 4 + 1)):
        data, offset = rng.randbytes(4 * dwords), 4 * rng.randrange(97)
        await host.write(bar, STATIC + offset, data)
        content[offset : offset + len(data)] = data
    for dwords in filter(host.can_decode, range(1, MAX_PAYLOAD_SIZE // 4 + 1)):
        # Across a Max_Payload_Size boundary there would be two answers, perhaps unsupported ones.
        block = MAX_PAYLOAD_SIZE * rng.randrange(len(content) // MAX_PAYLOAD_SIZE)
        offset = block + 4 * rng.randrange(MAX_PAYLOAD_SIZE // 4 - dwords + 1)
        got = await host.read_bytes(bar, STATIC + offset, 4 * dwords)
        assert got == content[offset : offset + 4 * dwords], f"{dwords} dwords, seed {SEED}"
    assert await host.read_bytes(bar, STATIC, len(content)) == content
    version = await host.read_bytes(AMP_PCI.register_bar, AMP_PCI.version_offset, 4)
    assert int.from_bytes(version, "little") == AMP_PCI.version
    (answer,) = await host.read(NO_BAR, 0, 4)
    assert answer["err"]
    host.finish()


@cocotb.test(**TIME_LIMIT)
async def interrupt_matches_the_table(dut):
    """The table, written in one packet, gives address and data of the interrupt."""
    host = LitePcieHost(dut)
    await host.start()
    rng = host.rng
    for number in range(4):
        address, data = MEMORY + 4 * rng.randrange(1024), rng.getrandbits(32)
        entry = b"".join(word.to_bytes(4, "little") for word in (address, 0, data, 0))
        assert len(entry) == MSIX_ENTRY_SIZE
        await host.write(AMP_PCI.msix_bar, AMP_PCI.msix_entry(0), entry)
        assert await host.read_bytes(AMP_PCI.msix_bar, AMP_PCI.msix_entry(0), 16) == entry
        await host.messages.send_message(0, bytes([number]) * 64)
        request = await host.requests.get()
        assert data_of(request) == data.to_bytes(4, "little")
        del request["dwords"], request["tag"]
        assert request == {
            "we": 1,
            "adr": address,
            "len": 1,
            "req_id": CARD,
            "first_be": 0xF,
            "last_be": 0,
        }
    host.finish()


@cocotb.test(**TIME_LIMIT)
@cocotb.parametrize(beat_bytes=[None, 4])
async def host_memory_reads(dut, beat_bytes):
    """LitePCIe decodes each read request and answers in reverse order."""
    host = LitePcieHost(dut, beat_bytes=beat_bytes)
    await host.start()
    rng = host.rng
    content = rng.randbytes(8192)
    # Two beats of the widest stream, or one dword.
    for size in (beat_bytes or 32, 64, 128, 512, 1024, 4096):
        spans = [size * position for position in rng.sample(range(len(content) // size), 2)]
        reads = [cocotb.start_soon(host.dma.read(MEMORY + at, size)) for at in spans]
        # Answer the requests in groups that the endpoint sends without an answer.
        remaining = 2 * size
        while remaining:
            requests = []
            while remaining and 4 * sum(request["len"] for request in requests) < OUTSTANDING_BYTES:
                requests.append(await host.requests.get())
                remaining -= 4 * requests[-1]["len"]
            assert len({request["tag"] for request in requests}) == len(requests)
            for request in reversed(requests):
                length = request["len"]
                assert (request["we"], request["req_id"], request["first_be"]) == (0, CARD, 0xF)
                assert request["last_be"] == (0xF if length > 1 else 0)
                assert host.can_complete(length), f"LitePCIe cannot complete {length} dwords"
                at = request["adr"] - MEMORY
                await host.complete.send(
                    data=content[at : at + 4 * length],
                    req_id=request["req_id"],
                    cmp_id=HOST,
                    adr=request["adr"] & 0x7F,
                    len=length,
                    err=0,
                    tag=request["tag"],
                )
        for read, at in zip(reads, spans, strict=True):
            assert await read == content[at : at + size], f"{size} bytes, seed {SEED}"
    assert int(host.dut.count_unexpected_completions.value) == 0
    host.finish()


@cocotb.test(**TIME_LIMIT)
async def host_memory_writes(dut):
    """Writes of any bytes, and bursts of several packets: address, byte enables and data."""
    host = LitePcieHost(dut)
    await host.start()
    rng = host.rng
    memory = bytearray(4096)
    expected = bytearray(memory)
    spans = [(0, 4), (1, 1), (2, 2), (3, 1), (128, 128), (1024, 1024)]
    for _ in range(60):
        size = rng.randint(1, MAX_PAYLOAD_SIZE)
        block = rng.randrange(0, len(memory), MAX_PAYLOAD_SIZE)
        spans.append((block + rng.randrange(MAX_PAYLOAD_SIZE - size + 1), size))
    for at, size in spans:
        if not host.can_decode(byte_enables(at, min(size, MAX_PAYLOAD_SIZE))[1]):
            continue
        data = rng.randbytes(size)
        expected[at : at + size] = data
        await host.dma.write(MEMORY + at, data)
        while size:
            # Packets of a burst end at a Max_Payload_Size boundary; longer spans start at one.
            length = min(size, MAX_PAYLOAD_SIZE)
            request = await host.requests.get()
            fields = tuple(request[name] for name in ("adr", "len", "first_be", "last_be"))
            assert fields == byte_enables(MEMORY + at, length), f"{length} bytes, seed {SEED}"
            assert (request["we"], request["req_id"]) == (1, CARD)
            tlp = Tlp(
                TlpKind.MWR32,
                length=request["len"],
                first_be=request["first_be"],
                last_be=request["last_be"],
            )
            start = request["adr"] - MEMORY
            bytes_found = zip(enabled_bytes(tlp), data_of(request), strict=True)
            for position, (enabled, byte) in enumerate(bytes_found, start):
                if enabled:
                    memory[position] = byte
            at, size = at + length, size - length
        assert memory == expected, f"seed {SEED}"
    host.finish()
