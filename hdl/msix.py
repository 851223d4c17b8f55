# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X: table, pending bits, masks, and the memory writes that interrupt the host.

PCI Express Base 4.0 section 6.1.4 and 7.7.2 (PCI Local Bus 3.0 section 6.8.2). An interrupt that is
raised while it is masked or disabled stays pending until it may be sent. Vectors are masked after
reset.
"""

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from models.shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE

from .arbiter import round_robin
from .departures import former_offer
from .geometry import Geometry
from .interfaces import FunctionControl, WordRead, WordWrite
from .tlp import memory_header

__all__ = ["MsixController", "MsixHostPort", "interrupt_signature"]


def interrupt_signature() -> stream.Signature:
    """Stream of MSI-X writes: ``data[32]``, ``strb[1]``, ``hdr[128]``, ``sop``, ``eop``."""
    return stream.Signature(
        data.StructLayout({"data": 32, "strb": 1, "hdr": 128, "sop": 1, "eop": 1})
    )


class MsixHostPort(wiring.Signature):
    """Access of the host to the MSI-X BAR. It never reads and writes in the same cycle.

    Attributes
    ----------
    write : Out(WordWrite(word_address_bits, data_width))
        Write.
    write_ready : In(1)
        The host may write in the next cycle. Low while the table is cleared.
    read : Out(WordRead(word_address_bits, data_width))
        Read. Data is the table part of the word, two cycles later; zero when nothing was read.
    read_controls : In(data_width)
        Mask and pending bits of the word, one cycle after the read; zero when nothing was read.
    read_ready : In(1)
        The host may read in this cycle. Low while the table is cleared, and in the cycle after a
        write, in which the write takes effect.
    """

    def __init__(self, geometry: Geometry):
        address, width = geometry.word_address_bits, geometry.data_width
        super().__init__(
            {
                "write": Out(WordWrite(address, width)),
                "write_ready": In(1),
                "read": Out(WordRead(address, width)),
                "read_controls": In(width),
                "read_ready": In(1),
            }
        )


class MsixController(wiring.Component):
    """MSI-X BAR and interrupt sender.

    Attributes
    ----------
    host : In(MsixHostPort)
        Host access.
    control : In(FunctionControl())
        ``reset`` masks every vector and clears the pending bits and the table; ``msix_enable``,
        ``msix_mask``, ``bus_master_enable`` and ``requester_id``.
    busy : Out(1)
        The table is being cleared.
    raised : In(num_vectors)
        One-cycle pulses: send the interrupt of the vector.
    refused : In(1)
        One-cycle pulse, before the next write is accepted from ``o``: the write accepted last was
        not sent.
    held : Out(1)
        One-cycle pulse in the cycle after ``raised``: an interrupt was raised that may not be sent
        now.
    o : Out(interrupt_signature())
        MSI-X writes. Once valid, a write is never withdrawn.
    former : Out(1)
        ``o`` holds a write from before ``control`` forbade to send it; valid from the cycle after
        that on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = g = geometry
        self._vectors = g.shell.num_vectors(g.num_fifos)
        super().__init__(
            {
                "host": In(MsixHostPort(g)),
                "control": In(FunctionControl()),
                "busy": Out(1, init=1),
                "raised": In(self._vectors),
                "refused": In(1),
                "held": Out(1),
                "o": Out(interrupt_signature()),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        vectors = self._vectors
        first_word = g.word(g.shell.msix_table_offset)
        # At least two words: the address of a memory of one has no bits, which Verilog cannot
        # express. A power of two, so that the upper bits of an address select the table.
        index_bits = max(1, (-(-vectors * MSIX_ENTRY_SIZE // g.word_bytes) - 1).bit_length())
        depth = 1 << index_bits

        masked = Signal(vectors, init=-1)
        pending = Signal(vectors)

        # Software does not write an entry that is unmasked (PCI Local Bus 3.0 section 6.8.2), so
        # the sender's read during a host write need not be defined. Distributed RAM: the table is
        # wide and shallow, and would leave several block RAMs almost empty.
        m.submodules.table = table = memory.Memory(
            shape=g.data_width,
            depth=depth,
            init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        port = table.write_port(granularity=8)
        host_port = table.read_port()
        sender_port = table.read_port()

        clearing = Signal(range(depth + 1))

        def in_table(address):
            return (address - first_word)[index_bits:] == 0

        # Register the write: `write_enable` is late and has high fan-out here.
        written = Signal()
        address = Signal.like(self.host.write.address)
        content = Signal.like(self.host.write.data)
        mask = Signal.like(self.host.write.mask)
        m.d.sync += [
            written.eq(self.host.write.enable),
            address.eq(self.host.write.address),
            content.eq(self.host.write.data),
            mask.eq(self.host.write.mask),
        ]
        m.d.comb += [
            self.host.write_ready.eq(~(self.control.reset | self.busy)),
            self.host.read_ready.eq(~(self.busy | written)),
        ]

        with m.If(self.control.reset):
            m.d.sync += [self.busy.eq(1), clearing.eq(0), masked.eq(-1)]
        with m.Elif(self.busy):
            m.d.sync += [clearing.eq(clearing + 1), self.busy.eq(clearing != depth - 1)]
        with m.If(self.busy):
            m.d.comb += [port.addr.eq(clearing), port.en.eq(-1)]
        with m.Else():
            m.d.comb += [
                port.addr.eq((address - first_word)[:index_bits]),
                port.data.eq(content),
            ]
            with m.If(written & in_table(address)):
                m.d.comb += port.en.eq(mask & self._stored_bytes(m, port.addr, depth))

        # Nonzero bytes in the upper half of each vector's address. An address above 4 GiB changes
        # the header's format, and the output of the RAM is too late to select it.
        upper = [Signal(4, name=f"upper_{vector}") for vector in range(vectors)]
        for vector, nonzero in enumerate(upper):
            offset = g.shell.msix_entry(vector) + 4
            for byte in range(4):
                at = 4 * g.lane(offset) + byte
                with m.If(written & (address == g.word(offset)) & mask[at]):
                    m.d.sync += nonzero[byte].eq(content.word_select(at, 8).any())
            with m.If(self.control.reset | self.busy):
                m.d.sync += nonzero.eq(0)

        # Mask and pending bits are read one cycle after `read_enable`.
        controls = Signal(g.data_width)
        was_read = Signal()
        was_at = Signal.like(self.host.read.address)
        for vector in range(vectors):
            offset = g.shell.msix_control(vector)
            word, lane = g.word(offset), g.lane(offset)
            with m.If(
                written & (address == word) & mask[4 * lane] & ~self.control.reset & ~self.busy
            ):
                m.d.sync += masked[vector].eq(content[32 * lane])
            with m.If(was_at == word):
                m.d.comb += controls[32 * lane].eq(masked[vector])
        pba_word, pba_lane = g.word(g.shell.msix_pba_offset), g.lane(g.shell.msix_pba_offset)
        with m.If(was_at == pba_word):
            m.d.comb += controls[32 * pba_lane : 32 * pba_lane + vectors].eq(pending)

        # The first cycle reads the RAM; the second one registers its output, which is late.
        from_table = Signal()
        m.d.comb += [
            host_port.addr.eq((self.host.read.address - first_word)[:index_bits]),
            # Always enabled: `read_enable` is late.
            host_port.en.eq(1),
            self.host.read_controls.eq(Mux(was_read, controls, 0)),
            from_table.eq(was_read & in_table(was_at)),
        ]
        m.d.sync += [
            was_read.eq(self.host.read.enable),
            was_at.eq(self.host.read.address),
            self.host.read.data.eq(Mux(from_table, host_port.data, 0)),
        ]

        self._send(m, pending, masked, Array(nonzero.any() for nonzero in upper), sender_port)
        return m

    def _stored_bytes(self, m, word, depth):
        """Mask of the bytes of ``word`` that the table's memory stores: neither the control dwords
        nor bytes past the last vector."""
        g = self._geometry
        stored = Signal(g.word_bytes)
        for index in range(depth):
            mask = 0
            for byte in range(g.word_bytes):
                offset = index * g.word_bytes + byte
                entry, within = divmod(offset, MSIX_ENTRY_SIZE)
                if entry < self._vectors and within < MSIX_CONTROL_OFFSET:
                    mask |= 1 << byte
            with m.If(word == index):
                m.d.comb += stored.eq(mask)
        return stored

    def _send(self, m, pending, masked, is_long, port):
        """Select a vector that may be sent, fetch its entry and drive the write."""
        g = self._geometry
        vectors = self._vectors
        words = max(1, MSIX_ENTRY_SIZE // g.word_bytes)
        entries = max(1, g.word_bytes // MSIX_ENTRY_SIZE)

        allowed = (
            self.control.msix_enable
            & ~self.control.msix_mask
            & self.control.bus_master_enable
            & ~self.control.reset
        )
        ready = Signal(vectors)
        vector = Signal(range(max(vectors, 2)))
        picked = Signal(range(max(vectors, 2)))
        sent = Signal(vectors)
        m.d.comb += [
            ready.eq(Mux(allowed, pending & ~masked, 0)),
            picked.eq(round_robin(ready, vector)),
        ]
        taken = Signal.like(vector)
        refusable = Signal()
        refused = Signal(vectors)
        m.d.comb += refused.eq((self.refused & refusable) << taken)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [taken.eq(vector), refusable.eq(1)]
        with m.Elif(self.refused):
            m.d.sync += refusable.eq(0)
        with m.If(self.control.reset):
            m.d.sync += refusable.eq(0)
        # `raised` is late, so `held` follows one cycle later.
        was_raised = Signal(vectors)
        blocked = Signal(vectors)
        m.d.comb += self.held.eq((was_raised & blocked).any())
        m.d.sync += [
            was_raised.eq(self.raised),
            blocked.eq(masked | (~allowed).replicate(vectors)),
            pending.eq((pending & ~sent) | self.raised | refused),
        ]
        with m.If(self.control.reset):
            m.d.sync += pending.eq(0)

        # Always enabled: `o.ready` is too late for the enable of a RAM.
        m.d.comb += port.en.eq(1)
        entry = Signal(MSIX_CONTROL_OFFSET * 8)
        long = Signal()
        requester_id = Signal(16)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += port.addr.eq(picked * words if words > 1 else picked // entries)
                with m.If(ready.any() & (~self.o.valid | self.o.ready)):
                    m.d.sync += vector.eq(picked)
                    m.next = "ADDRESS" if words > 1 else "FETCH"
            if words > 1:
                with m.State("ADDRESS"):
                    m.d.comb += port.addr.eq(vector * words + 1)
                    m.d.sync += entry[:64].eq(port.data)
                    m.next = "FETCH"
            with m.State("FETCH"):
                if words > 1:
                    m.d.sync += entry[64:].eq(port.data)
                else:
                    m.d.sync += entry.eq(
                        port.data.word_select(vector % entries, MSIX_ENTRY_SIZE * 8)
                    )
                m.d.sync += long.eq(1 if g.block.force_64_bit_addresses else is_long[vector])
                with m.If(ready.bit_select(vector, 1)):
                    m.d.comb += sent.eq(1 << vector)
                    m.d.sync += [self.o.valid.eq(1), requester_id.eq(self.control.requester_id)]
                m.next = "IDLE"
        m.d.comb += [
            self.former.eq(former_offer(m, self.o, ~allowed)),
            self.o.p.hdr.eq(
                memory_header(
                    address=entry[2:64],
                    long=long,
                    length=Const(1, 10),
                    first_be=Const(0xF, 4),
                    last_be=Const(0, 4),
                    requester_id=requester_id,
                    write=True,
                )
            ),
            self.o.p.data.eq(entry[64:96]),
            self.o.p.strb.eq(1),
            self.o.p.sop.eq(1),
            self.o.p.eop.eq(1),
        ]
