# SPDX-License-Identifier: BSD-2-Clause
"""Refused memory requests, and unsupported kinds of request."""

import random

import cocotb

from models.config_space import bar_offset
from models.layout import PAGE, SPSC_PAGES
from models.shell import AMP_PCI
from testbench.stream.tlp import TlpPacket
from testbench.tlp import CplStatus, Tlp, TlpKind
from testbench.tlp.packets import memory_read, memory_write
from tests.regressions.mirror import Mirror
from tests.regressions.queue_host import SEED, PulseCounter


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def refused_requests_have_no_effect(dut):
    """A refused request gets a completion if it is non-posted, has no effect, and is counted."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    host, base = bench.host, bench.host.bars[AMP_PCI.fifo_bar]
    doorbells = PulseCounter(dut.doorbell)
    core = bench.parameters.top == "core"
    pins = [dut.status_error_cor, dut.status_error_uncor] if core else []
    errors = [PulseCounter(pin) for pin in pins]
    await bench.write(AMP_PCI.fifo_bar, 0x3000, rng.randbytes(PAGE))
    dword = b"\xff" * 4
    request_fields = {"address": base + 0x3000, "length": 1, "first_be": 0xF}
    two_dwords = {**request_fields, "length": 2, "last_be": 0xF}

    reads = [(memory_read(base + 0x3FFC, 8), {}), (memory_read(base + 0x3804, PAGE), {})]
    reads += [(Tlp(kind, **request_fields), {}) for kind in (TlpKind.MRDLK32, TlpKind.IORD)]
    reads += [(Tlp(TlpKind.IOWR, payload=dword, **request_fields), {})]
    reads += [
        (Tlp(kind, payload=dword, **request_fields), {})
        for kind in (TlpKind.FETCHADD32, TlpKind.SWAP32)
    ]
    reads += [
        (Tlp(kind, payload=dword * 2, **two_dwords), {}) for kind in (TlpKind.SWAP64, TlpKind.CAS32)
    ]
    # Two operands of 128 bits, the longest non-posted payload.
    reads += [(Tlp(TlpKind.CAS32, payload=dword * 8, **{**two_dwords, "length": 8}), {})]
    writes = [
        (memory_write(base + 0x3000, dword * 40, ep=1), {}),
        (memory_write(host.bars[AMP_PCI.register_bar] + AMP_PCI.notify(0), dword, ep=1), {}),
        (memory_write(host.bars[AMP_PCI.msix_bar], dword * 4, ep=1), {}),
        (memory_write(base + 0x3FF8, dword * 8), {}),
    ]
    if core:
        # A hard block reports the BAR that matched and the function addressed.
        for sideband in [{"bar_id": bar} for bar in range(3, 8)] + [{"func_num": 1}]:
            reads.append((memory_read(base + 0x3000, 64), sideband))
            writes.append((memory_write(base + 0x3000, dword * 16), sideband))

    before = int(dut.count_unsupported_requests.value)
    for tlp, sideband in rng.sample(reads, len(reads)) + rng.sample(writes, len(writes)):
        sideband = {"bar_id": bar_of(host, tlp.address), **sideband}
        if not tlp.is_non_posted:
            await host.source.send(TlpPacket(tlp, **sideband))
            continue
        request = tlp.replace(tc=rng.randrange(8), attr=rng.randrange(8))
        pending = await host.requester.open(request.replace(requester_id=rng.getrandbits(16)))
        host.source.send_nowait(TlpPacket(pending.request, **sideband))
        (answer,) = await pending.answers()
        assert answer.status == CplStatus.UR and not answer.payload, f"{tlp} got {answer}"
    await bench.settle()
    poisoned = sum(tlp.ep for tlp, _ in writes)
    counted = int(dut.count_unsupported_requests.value) - before
    assert counted == len(reads) + len(writes) - poisoned
    assert [error.total for error in errors] == [len(reads), len(writes)] * core
    assert doorbells.total == 0
    await bench.read(AMP_PCI.fifo_bar, 0x3000, PAGE)
    await bench.read(AMP_PCI.msix_bar, 0, 64)
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def requests_across_bar_edges_are_refused(dut):
    """A BAR answers up to its last byte; a request that crosses its end is refused, and so are
    requests before and after it."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    host = bench.host
    doorbells = PulseCounter(dut.doorbell)
    endpoint = bench.parameters.top == "endpoint"
    if endpoint:
        for bar in host.bars:
            # Move the BARs apart, so that no neighbour answers.
            host.bars[bar] = 0x2000_0000 * (bar + 1)
            await host.config_write(bar_offset(bar), host.bars[bar])
    refused = 0
    before = int(dut.count_unsupported_requests.value)

    async def refuse_read(bar, offset, size):
        (answer,) = await host.request(memory_read(host.bars[bar] + offset, size), bar=bar)
        assert answer.status == CplStatus.UR and not answer.payload, f"BAR{bar}+{offset:#x}, {size}"

    for bar, size in AMP_PCI.bar_sizes(bench.parameters.num_fifos, SPSC_PAGES).items():
        tail = size - 64
        await bench.write(bar, tail, rng.randbytes(64))
        for count in (1, 2, 3, 4, 5, 8, 64):
            await bench.read(bar, size - count, count)
        for count in (2, 4, 65, 512):
            offset = size - rng.randrange(1, min(count, 64))
            await refuse_read(bar, offset, count)
            tlp = memory_write(host.bars[bar] + offset, b"\xff" * count)
            await host.send(tlp, bar=bar)
            refused += 2
        if endpoint:
            for offset in (-4, size):
                await refuse_read(bar, offset, 4)
                await host.send(memory_write(host.bars[bar] + offset, b"\xff" * 4), bar=bar)
                refused += 2
        await bench.read(bar, tail, 64)
        await bench.read(bar, 0, 64)
    assert int(dut.count_unsupported_requests.value) - before == refused
    assert doorbells.total == 0
    await bench.expect_nothing()
    await bench.finish()


def bar_of(host, address):
    """The BAR that contains an address; the BARs are contiguous."""
    return max((bar for bar in host.bars if host.bars[bar] <= address), key=host.bars.get)
