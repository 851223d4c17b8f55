# SPDX-License-Identifier: BSD-2-Clause
"""The measurements, as one cocotb test: each figure counted in clock edges at the ports.

A latency counts from the edge that accepts one beat to the first edge that samples the other valid:
1 is the next edge. A rate counts the edges from the first beat to the last, both included.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer

from models.layout import SPSC_PAGES
from models.shell import AMP_PCI
from testbench.axi.dma import AxiDma
from testbench.queue_bench import QueueBench, slot_bytes
from testbench.stream.axis import AxisMessage
from testbench.tlp import MEMORY_WRITES, Tlp
from testbench.tlp.monitor import interrupt_bundle
from testbench.tlp.packets import completion, memory_write

__all__ = ["FOLDER", "figures"]

FOLDER = "BENCH_FOLDER"
"""Environment variable: folder of ``figures.json``, which has the figures of ``one`` FIFO and, if
there are several, of ``every`` FIFO at once."""

MESSAGES = SPSC_PAGES.queue.capacity - 1
"""The number that a queue holds."""

HOST_MESSAGES = 1000
READS = 64
DMA_TRANSFERS = 16
DMA_BYTES = 4096
LATENCY_NS = 1000
MAX_PAYLOAD = 256


class Edges:
    """The clock edges at which a stream was valid, and those that accepted a beat.

    Parameters
    ----------
    dut
        The design's top.
    valid, ready
        Names of the handshake signals.
    """

    def __init__(self, dut: Any, valid: str, ready: str) -> None:
        self._valid, self._ready = getattr(dut, valid), getattr(dut, ready)
        self.clear()

    def clear(self) -> None:
        """Discard the recorded edges."""
        self.valid: list[int] = []
        self.accepted: list[int] = []

    def sample(self, edge: int) -> None:
        """Sample the stream at clock edge ``edge``."""
        if self._valid.value == "1":
            self.valid.append(edge)
            if self._ready.value == "1":
                self.accepted.append(edge)

    @property
    def span(self) -> int:
        """Edges from the first accepted beat to the last."""
        return self.accepted[-1] - self.accepted[0] + 1


class Measurement:
    """A bench with :class:`Edges` on each measured stream."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.bench = QueueBench(dut, max_payload_size=MAX_PAYLOAD)
        core = self.bench.parameters.top == "core"
        self.dma = AxiDma(dut)
        names = {
            "request": ("rx_req_tlp" if core else "rx_tlp", ""),
            "completion": ("tx_cpl_tlp" if core else "tx_tlp", ""),
            "interrupt": (interrupt_bundle(dut) if core else "tx_tlp", ""),
            "write": ("tx_wr_req_tlp" if core else "tx_tlp", ""),
            "out": ("m_axis_msg", "t"),
            "in": ("s_axis_msg", "t"),
            "data": ("s_axi_dma", "r"),
        }
        self.streams = {
            name: Edges(dut, f"{prefix}_{kind}valid", f"{prefix}_{kind}ready")
            for name, (prefix, kind) in names.items()
        }
        self.edge = 0
        self.beat_bytes = self.bench.parameters.data_width // 8
        self.beats = SPSC_PAGES.queue.slot_size // self.beat_bytes
        cocotb.start_soon(self._sample())

    def __getitem__(self, name: str) -> Edges:
        return self.streams[name]

    async def _sample(self) -> None:
        # Every edge is sampled, since edges are counted; a measurement takes some thousand.
        while True:
            await self.dut.clk.rising_edge
            self.edge += 1
            for stream in self.streams.values():
                stream.sample(self.edge)

    async def settle(self) -> None:
        """Wait until the design is idle, and discard the recorded edges."""
        await self.bench.settle(100)
        for stream in self.streams.values():
            stream.clear()

    async def drain(self, fifos: int = 1) -> None:
        """Drain both queues of each FIFO."""
        for fifo in range(fifos):
            await self.bench.set_device_tail(fifo, await self.bench.device_head(fifo))
        while self.bench.sink.pending:
            self.bench.sink.recv_nowait()
        await self.settle()

    async def fill(self, fifo: int = 0, count: int = MESSAGES) -> None:
        """Put messages into a driver queue, without a doorbell."""
        first = await self.bench.driver_tail(fifo)
        await self.bench.fill(fifo, range(count), first=first)
        await self.settle()

    def send(self, fifo: int, count: int = MESSAGES) -> None:
        """Queue messages on the device side, to be sent at one beat per cycle."""
        for number in range(count):
            self.bench.source.send_nowait(AxisMessage(fifo, slot_bytes(number)))

    async def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready()`` is true."""
        for _ in range(20_000):
            if ready():
                return
            await self.bench.settle(20)
        raise AssertionError("the measurement does not end")


async def rates(m: Measurement, fifos: int = 1) -> dict[str, float]:
    """Message rates over ``fifos`` FIFOs: to the device, from the device, both at once."""
    messages_per_fifo = MESSAGES // fifos
    count = messages_per_fifo * fifos
    beats = count * m.beats

    async def fill() -> None:
        for fifo in range(fifos):
            await m.fill(fifo, messages_per_fifo)

    def send() -> None:
        for _ in range(messages_per_fifo):
            for fifo in range(fifos):
                m.send(fifo, 1)

    async def ring() -> None:
        await m.bench.host.bar_write(
            AMP_PCI.register_bar, AMP_PCI.notify(0), bytes(AMP_PCI.notify_stride * fifos)
        )

    await fill()
    await ring()
    await m.wait_until(lambda: len(m["out"].accepted) == beats)
    pop = m["out"].span / count
    await m.drain(fifos)

    before = sum(m.bench.host.interrupts.values())
    send()
    await m.wait_until(lambda: len(m["in"].accepted) == beats)
    await m.bench.settle(100)
    push = m["in"].span / count
    interrupts = sum(m.bench.host.interrupts.values()) - before
    await m.drain(fifos)

    await fill()
    tail = await m.bench.device_head(0)
    await m.settle()
    send()
    await ring()
    # The driver retires messages meanwhile: the last one needs device queue space for its response.
    await m.wait_until(lambda: len(m["in"].accepted) >= beats // 2)
    await m.bench.set_device_tail(0, (tail + messages_per_fifo // 4) % SPSC_PAGES.queue.capacity)
    await m.wait_until(lambda: len(m["out"].accepted) == len(m["in"].accepted) == beats)
    both = max(m["out"].span, m["in"].span) / count
    await m.drain(fifos)
    return {
        "pop_cycles_per_message": pop,
        "push_cycles_per_message": push,
        "push_interrupts": interrupts,
        "both_cycles_per_message": both,
    }


async def host_rate(m: Measurement) -> dict[str, float]:
    """Slot write, head write and doorbell, a thousand times, with no other request TLPs."""
    host, bench, queue = m.bench.host, m.bench, SPSC_PAGES.queue
    fifo_bar, register_bar = host.bars[AMP_PCI.fifo_bar], host.bars[AMP_PCI.register_bar]
    index = await bench.driver_tail(0)
    await m.settle()

    def write(bar: int, address: int, data: bytes) -> None:
        host.send_nowait(memory_write(address, data, requester_id=host.requester_id), bar=bar)

    for number in range(HOST_MESSAGES):
        slot = fifo_bar + bench.driver(0, queue.slot_offset(index))
        index = queue.next(index)
        head = fifo_bar + bench.driver(0, queue.head_offset)
        write(AMP_PCI.fifo_bar, slot, slot_bytes(number))
        write(AMP_PCI.fifo_bar, head, index.to_bytes(4, "little"))
        write(AMP_PCI.register_bar, register_bar + AMP_PCI.notify(0), b"\1\0\0\0")
    await m.wait_until(lambda: len(m["out"].accepted) == HOST_MESSAGES * m.beats)
    cycles = m["request"].span / HOST_MESSAGES
    received = [bench.sink.recv_nowait().data for _ in range(HOST_MESSAGES)]
    assert received == [slot_bytes(number) for number in range(HOST_MESSAGES)]
    await m.drain()
    return {"host_cycles_per_message": cycles}


async def latencies(m: Measurement) -> dict[str, float]:
    """Latencies from one port to another, measured one at a time."""
    await m.fill(count=1)
    await m.bench.ring(0)
    await m.bench.settle(100)
    to_stream = m["out"].valid[0] - m["request"].accepted[-1]
    await m.drain()

    m.send(0, 1)
    await m.bench.settle(100)
    to_interrupt = m["interrupt"].valid[0] - m["in"].accepted[-1]
    await m.drain()

    await m.fill(count=1)
    echo = cocotb.start_soon(_echo(m.dut))
    await m.bench.ring(0)
    await m.bench.settle(200)
    echo.cancel()
    round_trip = m["interrupt"].valid[0] - m["request"].accepted[-1]
    await m.drain()

    await m.bench.host.bar_read(AMP_PCI.register_bar, AMP_PCI.version_offset, 4)
    await m.bench.settle(100)
    read = m["completion"].valid[0] - m["request"].accepted[-1]
    await m.settle()
    return {
        "doorbell_to_stream_cycles": to_stream,
        "stream_to_msix_cycles": to_interrupt,
        "doorbell_to_msix_cycles": round_trip,
        "mmio_read_cycles": read,
    }


async def _echo(dut: Any) -> None:
    """A device that sends each beat back, valid at the edge after the one that accepted it."""
    fields = ("tdata", "tkeep", "tlast", "tdest")
    beats: deque[tuple[int, ...]] = deque()
    while True:
        await dut.clk.rising_edge
        if dut.s_axis_msg_tvalid.value == "1" and dut.s_axis_msg_tready.value == "1":
            beats.popleft()
        if dut.m_axis_msg_tvalid.value == "1" and dut.m_axis_msg_tready.value == "1":
            beats.append(tuple(int(getattr(dut, f"m_axis_msg_{name}").value) for name in fields))
        dut.s_axis_msg_tvalid.value = bool(beats)
        if beats:
            for name, value in zip(fields, beats[0], strict=True):
                getattr(dut, f"s_axis_msg_{name}").value = value


async def read_rate(m: Measurement) -> dict[str, float]:
    """64-byte reads of the FIFO BAR, back to back."""
    host = m.bench.host
    base = host.bars[AMP_PCI.fifo_bar] + SPSC_PAGES.queue.size
    reads = [
        cocotb.start_soon(host.bar_read(AMP_PCI.fifo_bar, base - host.bars[AMP_PCI.fifo_bar], 64))
        for _ in range(READS)
    ]
    for read in reads:
        await read
    beats = READS * 64 // m.beat_bytes
    assert len(m["completion"].accepted) == beats, "other TLPs were sent as well"
    rate = READS * 64 / m["completion"].span
    await m.settle()
    return {"read_bytes_per_cycle": rate}


async def dma_rates(m: Measurement) -> dict[str, float]:
    """4 KiB transfers over the DMA window, several at once."""
    host = m.bench.host
    region = host.memory.allocate(DMA_TRANSFERS * DMA_BYTES)
    data = bytes(number & 0xFF for number in range(DMA_BYTES))
    for number in range(DMA_TRANSFERS):
        await host.memory.write(region + number * DMA_BYTES, data)

    async def answer(request: Tlp) -> None:
        await Timer(LATENCY_NS, "ns")
        size = 4 * request.length
        for offset in range(0, size, MAX_PAYLOAD):
            address = request.address + offset
            payload = await host.memory.read(address, min(MAX_PAYLOAD, size - offset))
            host.complete_nowait(
                completion(
                    request,
                    host.requester_id,
                    payload,
                    byte_count=size - offset,
                    lower_address=address & 0x7F,
                )
            )

    def on_request(request: Tlp) -> None:
        if request.kind not in MEMORY_WRITES:
            cocotb.start_soon(answer(request))

    host.on_request = on_request
    tasks = [
        cocotb.start_soon(m.dma.read(region + number * DMA_BYTES, DMA_BYTES))
        for number in range(DMA_TRANSFERS)
    ]
    for task in tasks:
        assert await task == data
    read = DMA_TRANSFERS * DMA_BYTES / m["data"].span
    await m.settle()
    writes = [
        cocotb.start_soon(m.dma.write(region + number * DMA_BYTES, data))
        for number in range(DMA_TRANSFERS)
    ]
    for transfer in writes:
        await transfer
    write = DMA_TRANSFERS * DMA_BYTES / m["write"].span
    await m.settle()
    return {"dma_read_bytes_per_cycle": read, "dma_write_bytes_per_cycle": write}


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def figures(dut: Any) -> None:
    """Measure all figures and write ``figures.json``."""
    m = Measurement(dut)
    await m.bench.start()
    await m.settle()
    fifos = m.bench.parameters.num_fifos
    values: dict[str, dict[str, float]] = {"one": {}}
    for measure in (rates, host_rate, latencies, read_rate, dma_rates):
        values["one"] |= await measure(m)
    if fifos > 1:
        values["every"] = await rates(m, fifos)
    folder = Path(os.environ[FOLDER])
    (folder / "figures.json").write_text(json.dumps(values, indent=2) + "\n")
