# SPDX-License-Identifier: BSD-2-Clause
"""BAR accesses of every size, alignment and byte enable, against the golden endpoint."""

import random

import cocotb

from models.config_space import coded_size
from models.layout import PAGE
from models.shell import AMP_PCI, MSIX_ENTRY_SIZE
from testbench.stream import pacing
from testbench.tlp import TlpKind
from tests.regressions.mirror import AREA, Mirror
from tests.regressions.queue_host import SEED, PulseCounter, slot_bytes

PATTERNS = range(16)
"""Every byte-enable pattern of a dword, including those with holes."""


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def sizes_and_alignments(dut):
    """Writes and reads of 1 to 72 bytes at every offset within 64."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for offset in range(64):
        base = AREA + 0x100 * (offset % 8)
        for size in rng.sample(range(1, 73), 6):
            await bench.write(AMP_PCI.fifo_bar, base + offset, rng.randbytes(size))
            await bench.read(AMP_PCI.fifo_bar, base + offset, size)
        # Neighbouring bytes keep their values.
        await bench.read(AMP_PCI.fifo_bar, base, 0x100)
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def byte_enable_patterns(dut):
    """Every pattern in the first dword and in the last, in 1, 2 and 5 dwords, at every lane."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    area = AREA + 0x400
    for first in PATTERNS:
        # A single dword, including holes and the zero-length write.
        await bench.write(AMP_PCI.fifo_bar, area, rng.randbytes(4), first_be=first)
        await bench.read(AMP_PCI.fifo_bar, area, 4)
        for last in PATTERNS:
            for dwords in (2, 5):
                offset = area + 4 * rng.randrange(16)
                data = rng.randbytes(4 * dwords)
                await bench.write(AMP_PCI.fifo_bar, offset, data, first_be=first, last_be=last)
        await bench.read(AMP_PCI.fifo_bar, area, 256)
    for first in PATTERNS[1:]:
        for last in PATTERNS[1:]:
            # Disabled bytes may read anything; the monitor checks byte count and lower address.
            offset, dwords = area + 4 * rng.randrange(16), rng.choice((2, 5))
            low, high = byte_span(first, last, dwords)
            await bench.read(
                AMP_PCI.fifo_bar,
                offset + low,
                high - low,
                first_be=first,
                last_be=last,
                length=dwords,
            )
    await bench.finish()


def byte_span(first, last, dwords):
    """Offsets of the first enabled byte and of the byte after the last one."""
    low = (first & -first).bit_length() - 1
    return low, 4 * dwords - 4 + last.bit_length()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def zero_length_requests(dut):
    """A zero-length read returns one dword, a zero-length write has no effect."""
    bench = Mirror(dut)
    await bench.start()
    for bar in (AMP_PCI.register_bar, AMP_PCI.fifo_bar, AMP_PCI.msix_bar):
        for offset in (0, 4, 0x20, 0x7FC):
            await bench.write(bar, offset, b"\xff" * 4, first_be=0)
            (completion,) = await bench.read(bar, offset, 0)
            assert (completion.length, completion.byte_count) == (1, 1)
            await bench.read(bar, offset, 4)
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def completions_are_split_by_max_payload_size(dut):
    """Reads up to 4 KiB at any alignment, for every maximum payload size."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for offset in range(0, PAGE, 256):
        await bench.write(AMP_PCI.fifo_bar, AREA + offset, rng.randbytes(256))
    # The two reserved encodings act as the largest size.
    for code in range(8):
        payload = 128 << min(code, 5)
        await bench.set_max_payload(code)
        assert len(await bench.read(AMP_PCI.fifo_bar, AREA, PAGE)) == PAGE // payload
        for _ in range(10):
            offset = rng.randrange(PAGE)
            size = rng.randint(1, PAGE - offset)
            completions = await bench.read(AMP_PCI.fifo_bar, AREA + offset, size)
            assert all(4 * completion.length <= payload for completion in completions)
            end = offset + size
            assert len(completions) == (end - 1) // payload - offset // payload + 1
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def max_payload_size_raised_under_pending_reads(dut):
    """Reads that are pending while the host raises Max_Payload_Size return the same bytes."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for offset in range(0, PAGE, 256):
        await bench.write(AMP_PCI.fifo_bar, AREA + offset, rng.randbytes(256))
    for code in range(1, 6):
        await bench.set_max_payload(0)
        pending_reads = []
        for _ in range(8):
            offset = rng.randrange(PAGE // 2)
            size = rng.randint(300, PAGE // 2)
            pending_reads.append(await bench.begin_read(AMP_PCI.fifo_bar, AREA + offset, size))
        await bench.settle(rng.randrange(50))
        await bench.set_max_payload(code)
        for pending_read in pending_reads:
            await bench.finish_read(pending_read)
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def long_writes(dut):
    """Writes up to 4 KiB, starting at every lane."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for lane in range(bench.parameters.data_width // 32 + 1):
        for size in (128, 256, 1024, PAGE):
            offset = AREA + 4 * lane
            data = rng.randbytes(min(size, PAGE - 4 * lane))
            await bench.write(AMP_PCI.fifo_bar, offset, data)
        await bench.read(AMP_PCI.fifo_bar, AREA, PAGE)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def four_dword_headers_below_4_gib(dut):
    """Four-dword headers with an address below 4 GiB work as three-dword headers do."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    await bench.read(AMP_PCI.register_bar, 0, 64, kind=TlpKind.MRD64)
    await bench.write(AMP_PCI.msix_bar, 0, rng.randbytes(12), kind=TlpKind.MWR64)
    await bench.read(AMP_PCI.msix_bar, 0, 16, kind=TlpKind.MRD64)
    for offset in range(AREA, AREA + 0x100, 20):
        data = rng.randbytes(20)
        await bench.write(AMP_PCI.fifo_bar, offset, data, kind=TlpKind.MWR64)
        await bench.read(AMP_PCI.fifo_bar, offset, 20)
        await bench.read(AMP_PCI.fifo_bar, offset, 20, kind=TlpKind.MRD64)
    await bench.finish()


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def unsupported_header_fields_are_ignored(dut):
    """Header fields of unsupported mechanisms have no effect, and completions do not echo them."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    fields = [{"th": 1}, {"ln": 1}, *({"at": at} for at in (1, 2, 3))]
    fields += [{"processing_hint": hint} for hint in (1, 2, 3)]
    fields.append({"th": 1, "ln": 1, "at": 3, "processing_hint": 3})
    for number, ignored_fields in enumerate(fields):
        for long in (False, True):
            offset, size = AREA + 64 * number + 4 * rng.randrange(8), 4 * rng.randint(2, 8)
            write, read = (TlpKind.MWR64, TlpKind.MRD64) if long else (TlpKind.MWR32, TlpKind.MRD32)
            data = rng.randbytes(size)
            await bench.write(AMP_PCI.fifo_bar, offset, data, kind=write, **ignored_fields)
            # A read request has no data to poison: its EP bit is ignored.
            poisoned = {"ep": rng.randrange(2), **ignored_fields}
            await bench.read(AMP_PCI.fifo_bar, offset, size, kind=read, **poisoned)
            await bench.read(AMP_PCI.fifo_bar, AREA, 1024)
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def registers_and_doorbells(dut):
    """BAR0 reads its constants; a write that enables any byte of a NOTIFY rings that FIFO."""
    bench = Mirror(dut)
    await bench.start()
    fifos = bench.parameters.num_fifos
    doorbells = PulseCounter(dut.doorbell)
    await bench.read(AMP_PCI.register_bar, 0, 256)
    await bench.read(AMP_PCI.register_bar, 0, 4)

    expected = [0] * fifos
    writes = [(offset, size) for offset in range(0, 0x50, 3) for size in (1, 2, 4, 8, 64)]
    writes += [(AMP_PCI.notify(fifo), 4) for fifo in range(8)]
    writes += [(AMP_PCI.notify(0), 8), (AMP_PCI.notify(0), 32), (0x3FF8, 8)]
    for offset, size in writes:
        await bench.write(AMP_PCI.register_bar, offset, bytes(range(size)))
        for fifo in range(fifos):
            first = AMP_PCI.notify(fifo)
            expected[fifo] += offset < first + 4 and offset + size > first
    for kind in (TlpKind.MWR32, TlpKind.MWR64):
        for pattern in PATTERNS:
            fields = {"kind": kind, "first_be": pattern}
            await bench.write(AMP_PCI.register_bar, AMP_PCI.notify(0), bytes(4), **fields)
            expected[0] += pattern != 0
    # Only the last dword has enabled bytes: the write rings its FIFO, not that of a dword before.
    await bench.write(
        AMP_PCI.register_bar, AMP_PCI.features_offset, bytes(8), first_be=0xF, last_be=0x4
    )
    await bench.write(
        AMP_PCI.register_bar, AMP_PCI.notify(0) - 4, bytes(8), first_be=0x2, last_be=0x4
    )
    expected[0] += 1
    # Addresses one bit away from NOTIFY0.
    for bit in range(6, 14):
        await bench.write(AMP_PCI.register_bar, AMP_PCI.notify(0) | 1 << bit, bytes(4))
    await bench.settle()
    # Reads ring no doorbell.
    await bench.read(AMP_PCI.register_bar, 0, 256)
    await bench.settle()
    assert doorbells.counts(fifos) == expected
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def msix_table(dut):
    """The table honours byte enables; pending bits and control bits other than the mask ignore
    writes."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    size = bench.parameters.num_fifos * MSIX_ENTRY_SIZE
    await bench.read(AMP_PCI.msix_bar, 0, 256)
    for _ in range(60):
        offset = rng.randrange(0, size)
        await bench.write(AMP_PCI.msix_bar, offset, rng.randbytes(rng.randint(1, 24)))
        await bench.read(AMP_PCI.msix_bar, 0, 256)
    await bench.write(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, b"\xff" * 16)
    await bench.read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 64)
    # MSI-X is disabled, so an interrupt stays pending, whatever the host writes to its bit.
    for fifo in rng.sample(
        range(bench.parameters.num_fifos), (bench.parameters.num_fifos + 1) // 2
    ):
        await bench.source.send_message(fifo, slot_bytes(fifo))
        assert bench.golden.push(fifo, slot_bytes(fifo))
        await bench.settle()
        await bench.read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 8)
        for value in (0x00, 0xFF):
            await bench.write(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, bytes([value] * 16))
            await bench.read(AMP_PCI.msix_bar, AMP_PCI.msix_pba_offset, 64)
    await bench.read(AMP_PCI.msix_bar, 0xF00, 256)
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def index_words_are_plain_ram_to_the_host(dut):
    """Index words are plain RAM to the host, whatever their values."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    for fifo in range(bench.parameters.num_fifos):
        for queue in (bench.driver(fifo, 0), bench.device(fifo, 0)):
            for offset in (0, 64):
                for pattern in PATTERNS:
                    data = rng.randbytes(4)
                    await bench.write(AMP_PCI.fifo_bar, queue + offset, data, first_be=pattern)
                    await bench.read(AMP_PCI.fifo_bar, queue + offset, 4)
            # One write across both words and a slot.
            await bench.write(AMP_PCI.fifo_bar, queue + 1, rng.randbytes(200))
            await bench.read(AMP_PCI.fifo_bar, queue, 256)
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def whole_fifo_bar_is_ram_or_reads_zero(dut):
    """Every address of the FIFO BAR, to the last bytes, is RAM or reads zero, by the layout."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    size = bench.golden.bar_sizes[AMP_PCI.fifo_bar]
    pieces = [(offset + 4 * rng.randrange(224), 128) for offset in range(0, size, 1024)]
    pieces.append((size - 128, 128))
    for offset, count in rng.sample(pieces, len(pieces)):
        await bench.write(AMP_PCI.fifo_bar, offset, rng.randbytes(count))
    for offset, count in pieces:
        await bench.read(AMP_PCI.fifo_bar, offset, count)
    await bench.expect_nothing()
    await bench.finish()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def writes_pass_stalled_reads(dut):
    """While completions stall, writes pass the pending reads (PCI Express 2.4.1)."""
    rng = random.Random(SEED)
    bench = Mirror(dut)
    await bench.start()
    area = AREA
    await bench.write(AMP_PCI.fifo_bar, area, rng.randbytes(512))
    for _ in range(4):
        bench.completions_out.pause()
        pending_reads = []
        for _ in range(8):
            offset = area + rng.randrange(256)
            pending_reads.append(
                await bench.begin_read(AMP_PCI.fifo_bar, offset, rng.randint(1, 256))
            )
            # Outside the areas read: a pending read may return old or new data.
            await bench.write(AMP_PCI.fifo_bar, area + 512, rng.randbytes(100))
            await bench.write(AMP_PCI.msix_bar, 0, rng.randbytes(12))
        assert not any(pending.completions for pending, *_ in pending_reads)
        bench.completions_out.resume()
        for pending_read in pending_reads:
            await bench.finish_read(pending_read)
        await bench.read(AMP_PCI.fifo_bar, area, 1024)
        await bench.read(AMP_PCI.msix_bar, 0, 16)
    await bench.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def random_accesses(dut):
    """Hundreds of accesses to all BARs, many of them in flight, with pauses on both streams."""
    rng = random.Random(SEED)
    bench = Mirror(
        dut,
        tags=256,
        host_idle=pacing.randomly(rng.getrandbits(32), 0.3),
        host_stall=pacing.randomly(rng.getrandbits(32), 0.5),
    )
    await bench.start()
    code = rng.randrange(4)
    await bench.set_max_payload(code)
    pending_reads = []
    for _ in range(500):
        bar, offset, size, fields = random_access(rng, bench)
        fields |= {"tc": rng.randrange(8), "attr": rng.randrange(8)}
        fields["requester_id"] = rng.getrandbits(16)
        long = rng.random() < 0.3
        if rng.random() < 0.6:
            kind = TlpKind.MRD64 if long else TlpKind.MRD32
            pending_reads.append(await bench.begin_read(bar, offset, size, kind=kind, **fields))
            continue
        # A read in flight may return the data of a later write.
        for pending_read in [
            pending_read
            for pending_read in pending_reads
            if overlap(pending_read, bar, offset, size)
        ]:
            pending_reads.remove(pending_read)
            await bench.finish_read(pending_read)
        # No doorbells: nothing runs the golden endpoint's device side here.
        if bar != AMP_PCI.register_bar or offset + size <= AMP_PCI.notify_offset:
            kind = TlpKind.MWR64 if long else TlpKind.MWR32
            size = min(size, coded_size(code) - offset % 4)
            data = rng.randbytes(4 * fields["length"] if "length" in fields else size)
            start = offset & ~3 if "length" in fields else offset
            await bench.write(bar, start, data, kind=kind, **fields)
    for pending_read in pending_reads:
        await bench.finish_read(pending_read)
    for offset in range(0, bench.golden.bar_sizes[AMP_PCI.fifo_bar], PAGE):
        await bench.read(AMP_PCI.fifo_bar, offset, 512)
    await bench.expect_nothing()
    await bench.finish()


def random_access(rng, bench):
    """Choose BAR, offset and size of an access, and header fields for byte enables with holes."""
    bar = rng.choice([0, 1, 1, 1, 1, 1, 2])
    limit = bench.golden.bar_sizes[bar]
    # Offsets with a function: the first words of a queue, of the table, of the pending bits.
    candidates = [0, 0x800, limit - 256]
    candidates += [PAGE * rng.randrange(limit // PAGE)] * 3
    offset = min(rng.choice(candidates) + rng.randrange(256), limit - 1)
    remaining = PAGE - offset % PAGE
    if rng.random() < 0.3 and remaining >= 8:
        dwords, first, last = rng.randint(1, 2), rng.randrange(1, 16), rng.randrange(1, 16)
        if dwords == 1:
            last = 0
        low, high = byte_span(first, last or first, dwords)
        fields = {"length": dwords, "first_be": first, "last_be": last}
        return bar, (offset & ~3) + low, high - low, fields
    # Few are long: long accesses would take all the time.
    size = rng.choice([0, 1, 2, 3, 4, 5, 8, 16, 33, 64, 100, 200, 700])
    if rng.random() < 0.02:
        size = PAGE
    return bar, offset, min(size, remaining), {}


def overlap(pending_read, bar, offset, size):
    """Whether an access shares a dword with a pending read."""
    _, other_bar, other, other_size, _ = pending_read
    ends = [max(at + count, at + 1) for at, count in ((offset, size), (other, other_size))]
    return bar == other_bar and offset & ~3 < ends[1] and other & ~3 < ends[0]
