# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X: every interrupt is sent, none while masked, and the BAR reads back.

PCI Express Base 4.0 section 6.1.4; PCI Local Bus 3.0 section 6.8.2.
"""

import pytest
from simulation import simulate
from streams import SIZES, Bench, geometry, tlp_of

from hdl.msix import MsixController
from models.shell import AMP_PCI, AMP_PCI_9038
from testbench.tlp.rules import header_rules, request_rules

ENTRY, CONTROL = 16, 12
"""Bytes of a table entry, and the offset of its control dword."""

REQUESTER = 0x9A5
SENDS = {"msix_enable": 1, "msix_mask": 0, "bus_master_enable": 1}
"""Settings with which interrupts are sent."""


class Table:
    """Model of table, masks and pending bits, by byte of the MSI-X BAR."""

    def __init__(self, g):
        self._g = g
        self.vectors = g.shell.num_vectors(g.num_fifos)
        self.clear()

    def clear(self):
        self.entries = bytearray(ENTRY * self.vectors)
        self.masked = [True] * self.vectors
        self.pending = [False] * self.vectors
        # The entry was written since the last reset.
        self.written = [False] * self.vectors

    def write(self, word, data, mask):
        """Write the bytes of ``mask`` of a word."""
        for byte in range(self._g.word_bytes):
            at = word * self._g.word_bytes + byte - self._g.shell.msix_table_offset
            if mask >> byte & 1 and 0 <= at < len(self.entries):
                vector, within = divmod(at, ENTRY)
                value = data >> 8 * byte & 0xFF
                if within < CONTROL:
                    self.entries[at] = value
                    self.written[vector] = True
                elif within == CONTROL:
                    self.masked[vector] = bool(value & 1)

    def read(self, word):
        """The table part of a word, and its masks and pending bits."""
        shell, size = self._g.shell, self._g.word_bytes
        memory = bytearray(shell.msix_bar_size)
        table, controls = memory[:], memory[:]
        for vector in range(self.vectors):
            at = shell.msix_entry(vector)
            table[at : at + CONTROL] = self.entries[ENTRY * vector :][:CONTROL]
            controls[at + CONTROL] = self.masked[vector]
        pending = sum(bit << vector for vector, bit in enumerate(self.pending))
        controls[shell.msix_pba_offset : shell.msix_pba_offset + 8] = pending.to_bytes(8, "little")
        place = slice(word * size, (word + 1) * size)
        return (
            int.from_bytes(table[place], "little"),
            int.from_bytes(controls[place], "little"),
        )

    def unsent(self):
        """Vectors that are pending and not masked."""
        pairs = zip(self.pending, self.masked, strict=True)
        return [place for place, (pending, masked) in enumerate(pairs) if pending and not masked]

    def message(self, vector):
        """Address and data of a vector."""
        entry = self.entries[ENTRY * vector :]
        return int.from_bytes(entry[:8], "little") & ~3, bytes(entry[8:12])


class Host:
    """The host: accesses of the MSI-X BAR, settings, resets; and the interrupts that are raised.

    It writes an entry only while its vector is masked, and unmasks none that it has not written.

    Attributes
    ----------
    sent : list
        Vectors of the writes that were accepted.
    """

    def __init__(self, bench, g, *, resets=0.0):
        self._bench, self._g, self._resets = bench, g, resets
        self.table = Table(g)
        self.sent = []
        self.raised = [0] * self.table.vectors
        self._program = []
        # A write takes effect in the cycle after it.
        self._taking_effect = None
        self._held = False
        bench.process(self._run)

    def _words(self, at, content):
        """The words of a write of ``content`` at byte ``at`` of the BAR, one at a time."""
        size = self._g.word_bytes
        place = at % size
        data = int.from_bytes(content, "little") << 8 * place
        junk = self._bench.rng.getrandbits(8 * size)
        mask = (1 << len(content)) - 1 << place
        bits = sum(0xFF << 8 * byte for byte in range(size) if mask >> byte & 1)
        return at // size, data | junk & ~bits, mask

    def _next_write(self):
        """The next write of the host: of entries that are masked, and of masks."""
        rng, shell = self._bench.rng, self._g.shell
        if self._program:
            return self._words(*self._program.pop(0))
        if self._taking_effect is not None:
            # It may be of a mask.
            return None
        vector = rng.randrange(self.table.vectors)
        at = shell.msix_entry(vector)
        control = self._bench.rng.randrange(0, 1 << 32, 2)
        if self._bench.ended:
            masked = [
                place
                for place in range(self.table.vectors)
                if self.table.masked[place] and self.table.written[place]
            ]
            if not masked:
                return None
            at = shell.msix_entry(masked[0])
            return self._words(at + CONTROL, control.to_bytes(4, "little"))
        if not self.table.masked[vector]:
            if rng.random() < 0.1:
                return self._words(at + CONTROL, (control | 1).to_bytes(4, "little"))
            return None
        # The data names the vector.
        address = rng.getrandbits(64 if rng.random() < 0.5 else 32)
        data = rng.getrandbits(24) << 8 | vector
        self._program = [
            (at, (address & 0xFFFF_FFFF).to_bytes(4, "little")),
            (at + 4, (address >> 32).to_bytes(4, "little")),
            (at + 8, data.to_bytes(4, "little")),
        ]
        if rng.random() < 0.3:
            # A quadword at a time.
            self._program[:2] = [(at, address.to_bytes(8, "little"))]
        if rng.random() < 0.3:
            # A single byte of the address, and reserved bits of the control dword.
            self._program.append((at + rng.randrange(8), rng.randbytes(1)))
            self._program.append((at + CONTROL + 1, rng.randbytes(3)))
        self._program.append((at + CONTROL, control.to_bytes(4, "little")))
        return self._words(*self._program.pop(0))

    async def _run(self, ctx):
        bench, dut, rng, table = self._bench, self._bench.dut, self._bench.rng, self.table
        control, host, n = dut.control, dut.host, self.table.vectors
        settings = SENDS.copy()
        may_write, resetting = False, 0
        # Contents that the read of the second-last cycle may return; word and content of the last.
        read_before = None
        raised = refused = 0
        # The write on `o`: since it is valid, and whether it has been forbidden since.
        was_valid = was_accepted = forbidden = False
        allowed = False
        refusable = None
        while True:
            # The state at the beginning of the cycle follows from the cycle before.
            valid, beat = ctx.get(dut.o.valid), ctx.get(dut.o.p)
            begins = valid and (was_accepted or not was_valid)
            if begins:
                self._check(beat, allowed)
                table.pending[int(beat.data) & 0xFF] = False
            for vector in range(n):
                if raised >> vector & 1 or refused >> vector & 1:
                    table.pending[vector] = True
            if resetting:
                table.clear()
                self._program.clear()
                refusable = None
            if begins:
                forbidden = False
            assert ctx.get(dut.held) == self._held

            if not bench.ended and rng.random() < 0.05:
                name = rng.choice([*settings])
                settings[name] = SENDS[name] ^ (rng.random() < 0.25)
            elif bench.ended:
                settings = SENDS.copy()
            resetting = max(resetting - 1, 0) or (
                rng.randint(1, 3) if not bench.ended and rng.random() < self._resets else 0
            )
            for name, value in settings.items():
                ctx.set(getattr(control, name), value)
            ctx.set(control.requester_id, REQUESTER)
            ctx.set(control.reset, resetting > 0)
            busy = ctx.get(dut.busy)
            write = self._next_write() if may_write and rng.random() < 0.6 else None
            ctx.set(host.write.enable, write is not None)
            address, data, mask = write or (rng.randrange(64), rng.getrandbits(64), 0xFF)
            ctx.set(host.write.address, address)
            ctx.set(host.write.data, data)
            ctx.set(host.write.mask, mask)
            read = None
            if write is None and ctx.get(host.read_ready) and rng.random() < 0.5:
                read = self._address()
            ctx.set(host.read.enable, read is not None)
            ctx.set(host.read.address, rng.randrange(64) if read is None else read)
            raised = 0
            if not bench.ended:
                raised = sum((rng.random() < 0.1) << vector for vector in range(n))
            ctx.set(dut.raised, raised)
            refuses = refusable is not None and not valid and not bench.ended
            refuses = refuses and rng.random() < 0.1
            refused = 1 << refusable if refuses else 0
            if refuses:
                refusable = None
            ctx.set(dut.refused, refuses)

            # The table is read in the cycle of the read, masks and pending bits one later.
            expected = 0
            if read_before is not None:
                address_before, table_part = read_before
                expected = table_part | table.read(address_before)[1]
            may_send = settings["msix_enable"] and not settings["msix_mask"]
            may_send = may_send and settings["bus_master_enable"] and not resetting
            values = (dut.o.ready, dut.former, host.write_ready, host.read.data)
            _, _, ready, former, may_write, found = await ctx.tick().sample(*values)
            assert found == expected, "table, masks and pending bits"
            # `former` may rise in the cycle of the change already.
            assert not valid or former or not forbidden
            assert not former or (valid and (forbidden or not may_send))
            forbidden = forbidden or not may_send
            self._held = any(
                raised >> vector & 1 and (table.masked[vector] or not may_send)
                for vector in range(n)
            )
            allowed = may_send and [not masked for masked in table.masked]
            was_valid, was_accepted = valid, valid and ready
            if was_accepted:
                refusable = int(beat.data) & 0xFF
                self.sent.append(refusable)
            for vector in range(n):
                self.raised[vector] += raised >> vector & 1
            read_before = None if read is None else (read, table.read(read)[0])
            if self._taking_effect is not None and not (busy or resetting):
                table.write(*self._taking_effect)
            self._taking_effect = write

    def _address(self):
        """A word to read."""
        rng, shell, size = self._bench.rng, self._g.shell, self._g.word_bytes
        entry = shell.msix_entry(rng.randrange(self.table.vectors)) + 8 * rng.getrandbits(1)
        beyond = shell.msix_entry(self.table.vectors)
        return rng.choice([entry, entry, shell.msix_pba_offset, beyond, 0x400]) // size

    def _check(self, beat, allowed):
        """Check a write that becomes valid; ``allowed`` says which vectors might be sent."""
        tlp = tlp_of([{"data": int(beat.data), "strb": int(beat.strb), "hdr": int(beat.hdr)}])
        violations = [
            *header_rules(tlp),
            *request_rules(
                tlp,
                requester_id=REQUESTER,
                max_payload_size=128,
                max_read_request_size=128,
                extended_tags=False,
            ),
        ]
        assert not violations, "; ".join(map(str, violations))
        vector = tlp.payload[0]
        assert allowed and allowed[vector], f"vector {vector} is sent while masked"
        assert self.table.pending[vector], f"vector {vector} is sent, but not pending"
        assert (tlp.address, tlp.payload) == self.table.message(vector)
        assert beat.sop and beat.eop and tlp.first_be == 0xF and tlp.has_data


def run(g, *case, **options):
    dut = MsixController(g)
    bench = Bench(dut, g.data_width, g.shell.name, *case)
    host = Host(bench, g, **options)
    bench.sink(dut.o)
    bench.run(drain=120)
    return host


@pytest.mark.parametrize(
    "width, fifos, shell",
    [(width, fifos, AMP_PCI) for width, fifos in SIZES] + [(128, 8, AMP_PCI_9038)],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_every_interrupt_is_sent_once_it_may_be(width, fifos, shell):
    host = run(geometry(width, fifos, shell=shell))
    assert not host.table.unsent()
    assert len(host.sent) > 3


@pytest.mark.parametrize("width, fifos", SIZES)
def test_reset_masks_and_clears_everything(width, fifos):
    host = run(geometry(width, fifos), "resets", resets=0.02)
    assert not host.table.unsent()


@pytest.mark.parametrize("width", [64, 512])
def test_vectors_are_served_round_robin(width):
    """A vector that is raised in every cycle does not delay the others."""
    g = geometry(width, 8)
    dut = MsixController(g)
    sent = []

    async def bench(ctx):
        for name, value in SENDS.items():
            ctx.set(getattr(dut.control, name), value)
        await ctx.tick().until(dut.host.write_ready)
        ctx.set(dut.host.write.enable, 1)
        for vector in range(8):
            # The data dword, then the control dword.
            for offset, value in ((8, vector), (CONTROL, 0)):
                at = g.shell.msix_entry(vector) + offset
                ctx.set(dut.host.write.address, at // g.word_bytes)
                ctx.set(dut.host.write.data, value << 8 * (at % g.word_bytes))
                ctx.set(dut.host.write.mask, 0xF << at % g.word_bytes)
                await ctx.tick()
        ctx.set(dut.host.write.enable, 0)
        await ctx.tick().repeat(2)
        ctx.set(dut.raised, 0xFF)
        await ctx.tick()
        ctx.set(dut.raised, 0x01)
        ctx.set(dut.o.ready, 1)
        for _ in range(60):
            _, _, valid, vector = await ctx.tick().sample(dut.o.valid, dut.o.p.data)
            if valid:
                sent.append(vector)

    simulate(dut, bench)
    assert sorted(sent[:8]) == list(range(8))
