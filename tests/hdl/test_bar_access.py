# SPDX-License-Identifier: BSD-2-Clause
"""BAR access: a read returns the writes before it, and neither kind starves the other."""

import pytest
from amaranth.hdl import Elaboratable, Module
from streams import UNTHROTTLED, Bench, drive, geometry

from hdl.bar_access import BarAccess
from hdl.requests import Target
from hdl.tlp import DATA_WIDTHS


class Reader(Elaboratable):
    """The component, and the gate that reads a word when it may be read."""

    def __init__(self, access):
        self.access = access

    def elaborate(self, platform):
        m = Module()
        m.submodules.access = self.access
        reads = self.access.reads
        m.d.comb += reads.enable.eq(reads.requested & reads.ready)
        return m


class Bars:
    """The BARs behind the component, and the reads of the completer.

    A word of the FIFO BAR at an odd address has an index word in lane 0.

    Attributes
    ----------
    written : list
        Word writes that the BARs receive: target, address, data, mask, cycle.
    reads : list
        Target, address, cycle and expected data of each read.
    returned : dict
        Data by the cycle of its read.
    """

    def __init__(self, bench, access, g, *, ready=0.8):
        self._bench, self._dut, self._g, self._ready = bench, access, g, ready
        self._words = {}
        self._indices = {}
        self.written, self.reads, self.returned = [], [], {}
        self.requested = 0
        bench.process(self._run)

    def _word(self, target, address):
        return self._words.get((target, address), 0)

    def _shown(self, target, address):
        """What a read returns."""
        word = self._word(target, address)
        if target == Target.FIFOS and address & 1:
            return word >> 32 << 32 | self._indices.get(address, 0)
        return word

    def _write(self, target, port):
        address, data, mask = port
        former = bytearray(self._word(target, address).to_bytes(self._g.word_bytes, "little"))
        for byte in range(self._g.word_bytes):
            if mask >> byte & 1:
                former[byte] = data >> 8 * byte & 0xFF
        self._words[target, address] = int.from_bytes(former, "little")

    def _write_index(self, address, data, mask):
        former = bytearray(self._indices.get(address, 0).to_bytes(4, "little"))
        for byte in range(4):
            if mask >> byte & 1:
                former[byte] = data >> 8 * byte & 0xFF
        self._indices[address] = int.from_bytes(former, "little")

    async def _run(self, ctx):
        bench, dut, rng = self._bench, self._dut, self._bench.rng
        reads, fifos, msix = dut.reads, dut.fifos, dut.msix
        write_readies = (fifos.write_ready, msix.write_ready, dut.index_write_ready)
        read_readies = (fifos.read_ready, msix.read_ready, dut.index_read_ready)
        request = None
        # Reads of the last cycle and of the one before it, by BAR.
        last = {"fifos": [None, None], "msix": [None, None], "index": [None, None]}
        stalled_by_write = False
        may_write = True
        while True:
            register = dut.register_read
            value = 0
            if ctx.get(register.enable):
                value = self._shown(Target.REGISTERS, ctx.get(register.address))
            ctx.set(register.data, value)
            ctx.set(dut.index_read_hit, last["index"][0] is not None)
            ctx.set(dut.index_read.data, last["index"][1] or 0)
            ctx.set(fifos.read.data, last["fifos"][1] or 0)
            ctx.set(msix.read.data, last["msix"][0] or 0)
            for signal in (*write_readies, *read_readies):
                ctx.set(signal, rng.random() < self._ready)
            if request is None and not bench.stalls() and not bench.ended:
                target = rng.choice([Target.REGISTERS, Target.FIFOS, Target.FIFOS, Target.MSIX])
                request = (target, rng.randrange(4))
                self.requested += 1
            ctx.set(reads.requested, request is not None)
            drive(ctx, reads.target, rng.randrange(4) if not request else request[0].value, rng)
            drive(ctx, reads.address, rng.randrange(4) if not request else request[1], rng)

            ports = (dut.register_write, fifos.write, dut.index_write, msix.write)
            values = [field for port in ports for field in (port.enable, *_fields(port))]
            will_write = all(ctx.get(signal) for signal in write_readies)
            may_read = all(ctx.get(signal) for signal in read_readies)
            _, _, ready, enable, *sampled = await ctx.tick().sample(
                *(reads.ready, reads.enable),
                *(dut.writes.valid, dut.writes.ready),
                *(dut.writes.p.to_driver_queue, dut.writes.p.to_device_queue),
                *(fifos.write_to_driver, fifos.write_to_device),
                *(fifos.read.enable, fifos.read.address, fifos.read_hides),
                *(dut.index_read.enable, dut.index_read.address),
                *(msix.read.enable, msix.read.address),
                *(reads.data, *values),
            )
            write_valid, write_ready, driver, device, to_driver, to_device, *rest = sampled
            fifo_reads, fifo_address, hides, *rest = rest
            index_reads, index_address, msix_reads, msix_address, data, *writes = rest
            now = bench.cycle
            self.returned[now - 2] = data
            accepted = write_valid and write_ready
            assert not (accepted and enable), "two accesses in one cycle"
            assert may_write or not accepted, "a write to a BAR that is not ready"
            assert may_read or not enable, "a read of a BAR that is not ready"
            if stalled_by_write and may_read:
                assert ready, "a read that a write stalled does not win the next cycle"
            stalled_by_write = request is not None and accepted
            may_write = will_write
            word = last["fifos"][0]
            last["fifos"][1] = word >> 32 << 32 if word is not None and hides else word
            last["msix"][1] = last["msix"][0]
            last["fifos"][0] = self._word(Target.FIFOS, fifo_address) if fifo_reads else None
            last["msix"][0] = self._word(Target.MSIX, msix_address) if msix_reads else None
            hit = index_reads and index_address & 1
            last["index"] = [
                self._indices.get(index_address, 0) if hit else None,
                last["index"][0],
            ]
            if enable:
                self.reads.append((*request, now, self._shown(*request)))
                request = None
            targets = (Target.REGISTERS, Target.FIFOS, None, Target.MSIX)
            for place, target in enumerate(targets):
                enabled, *port = writes[4 * place : 4 * place + 4]
                if enabled and target is None:
                    self._write_index(*port)
                    self.written.append(("index", *port, now))
                elif enabled:
                    self._write(target, port)
                    self.written.append((target.name, *port, now))
                    if target is Target.FIFOS:
                        assert (to_driver, to_device) == (driver, device)
            assert writes[4] or not (to_driver or to_device)


def _fields(port):
    return port.address, port.data, port.mask


def words(bench, g, sent):
    """Random word writes, which are added to ``sent``."""
    rng = bench.rng
    while True:
        target = rng.choice([Target.REGISTERS, Target.FIFOS, Target.FIFOS, Target.MSIX])
        word = {
            "target": target.value,
            "address": rng.randrange(4),
            "data": rng.getrandbits(g.data_width),
            "mask": rng.getrandbits(g.word_bytes),
        }
        # Of a reserved page: no RAM.
        ram = rng.choice(["driver", "device", None]) if target is Target.FIFOS else None
        word["to_driver_queue"], word["to_device_queue"] = ram == "driver", ram == "device"
        word["may_be_index"] = target is Target.FIFOS and word["address"] & 1
        word["lane_0"] = word["mask"] & 0xF != 0
        sent.append(word)
        yield [word]


def expected_writes(word, width):
    """Writes of the BARs that a word write makes."""
    fields = (word["address"], word["data"], word["mask"])
    found = [(Target(word["target"]).name, *fields)]
    if word["may_be_index"] and word["lane_0"]:
        found.append(("index", word["address"], word["data"] & 0xFFFF_FFFF, word["mask"] & 0xF))
    return found


@pytest.mark.parametrize("width", DATA_WIDTHS)
def test_read_returns_the_writes_before_it(width):
    g = geometry(width)
    dut = BarAccess(g)
    bench = Bench(Reader(dut), width)
    sent = []
    bars = Bars(bench, dut, g)
    bench.source(dut.writes, words(bench, g, sent))
    bench.run()
    assert [write[:4] for write in bars.written] == [
        write for word in sent for write in expected_writes(word, width)
    ]
    assert len(bars.reads) == bars.requested > 30
    for target, address, cycle, data in bars.reads:
        assert bars.returned[cycle] == data, f"{target}, word {address}"


@pytest.mark.parametrize("both", [True, False])
def test_an_access_every_cycle(both):
    """Reads and writes alternate if both are continuous; writes alone proceed every cycle."""
    g = geometry(64)
    dut = BarAccess(g)
    bench = Bench(Reader(dut), both, paces=UNTHROTTLED if both else ((0, 1),))
    bars = Bars(bench, dut, g, ready=1)
    bench.source(dut.writes, words(bench, g, []))
    bench.run()
    writes = sorted({write[4] for write in bars.written if write[4] < 40})
    reads = [read[2] for read in bars.reads if read[2] < 40]
    assert len(writes) + len(reads) >= 38
    if both:
        assert abs(len(writes) - len(reads)) <= 2
