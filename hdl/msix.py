# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X: table, pending bits, masks, and the memory writes that interrupt the host.

PCI Express Base 4.0 section 6.1.4 and 7.7.2 (PCI Local Bus 3.0 section 6.8.2). An interrupt that is
raised while it may not be sent stays pending and leaves when it may; vectors are masked after
reset.
"""

from amaranth.hdl import Array, Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from models.shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE

from .arbiter import round_robin
from .departures import former_offer
from .geometry import Geometry
from .tlp import memory_header

__all__ = ["MsixController", "interrupt_signature"]


def interrupt_signature() -> stream.Signature:
    """Stream of MSI-X writes: ``data[32]``, ``strb[1]``, ``hdr[128]``, ``sop``, ``eop``."""
    return stream.Signature(
        data.StructLayout({"data": 32, "strb": 1, "hdr": 128, "sop": 1, "eop": 1})
    )


class MsixController(wiring.Component):
    """The MSI-X BAR and the sender of the interrupts.

    Attributes
    ----------
    reset : In(1)
        Masks every vector, clears pending bits and the table.
    busy : Out(1)
        The table is being cleared: host accesses have to wait.
    written : Out(1)
        A host write of the cycle before is carried out: a host read has to wait.
    enable, function_mask, bus_master_enable : In(1)
        From configuration space.
    requester_id : In(16)
    raised : In(num_vectors)
        One-cycle pulses: send this vector's interrupt.
    refused : In(1)
        One-cycle pulse, before the next one is taken from ``o``: what was taken last was not sent.
    held : Out(1)
        One-cycle pulse, the cycle after: one was raised that may not be sent now.
    write_enable, write_address, write_data, write_mask : In
        Host write of a word of the BAR.
    read_enable, read_address : In, read_data, read_controls : Out
        Host read, in another cycle than a write. ``read_data`` is there two cycles after, mask and
        pending bits, ``read_controls``, the cycle after; both are zero where nothing was read.
    o : Out(interrupt_signature())
        The memory writes. One is given up no more once it is valid.
    former : Out(1)
        ``o`` has one that was made before the function was forbidden to send it, by ``enable``,
        ``function_mask``, ``bus_master_enable`` or ``reset``; valid from the cycle after that on.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = g = geometry
        self._vectors = g.shell.num_vectors(g.num_fifos)
        super().__init__(
            {
                "reset": In(1),
                "busy": Out(1, init=1),
                "written": Out(1),
                "enable": In(1),
                "function_mask": In(1),
                "bus_master_enable": In(1),
                "requester_id": In(16),
                "raised": In(self._vectors),
                "refused": In(1),
                "held": Out(1),
                "write_enable": In(1),
                "write_address": In(g.word_address_bits),
                "write_data": In(g.data_width),
                "write_mask": In(g.word_bytes),
                "read_enable": In(1),
                "read_address": In(g.word_address_bits),
                "read_data": Out(g.data_width),
                "read_controls": Out(g.data_width),
                "o": Out(interrupt_signature()),
                "former": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        vectors = self._vectors
        first_word = g.word(g.shell.msix_table_offset)
        # Two words at least: a memory of one has no address, and Verilog no signal of no bits. As
        # many as there are to an address, so that its upper bits tell what is in the table.
        index_bits = max(1, (-(-vectors * MSIX_ENTRY_SIZE // g.word_bytes) - 1).bit_length())
        depth = 1 << index_bits

        masked = Signal(vectors, init=-1)
        pending = Signal(vectors)

        # A vector that may be sent is not to be changed (PCI Local Bus 3.0 section 6.8.2), so what
        # its sender reads while the host writes it need not be defined either. A few words: block
        # RAMs would be as many as make up their width, and hardly used.
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

        # A cycle after: that there is a write is known late, and much hangs on it here.
        address = Signal.like(self.write_address)
        content = Signal.like(self.write_data)
        mask = Signal.like(self.write_mask)
        m.d.sync += [
            self.written.eq(self.write_enable),
            address.eq(self.write_address),
            content.eq(self.write_data),
            mask.eq(self.write_mask),
        ]

        with m.If(self.reset):
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
            with m.If(self.written & in_table(address)):
                m.d.comb += port.en.eq(mask & self._stored_bytes(m, port.addr, depth))

        # Whether a vector's address is above 4 GiB, by the bytes of its upper half: what its write
        # looks like hangs on it, and what comes of a RAM is late.
        upper = [Signal(4, name=f"upper_{vector}") for vector in range(vectors)]
        for vector, nonzero in enumerate(upper):
            offset = g.shell.msix_entry(vector) + 4
            for byte in range(4):
                at = 4 * g.lane(offset) + byte
                with m.If(self.written & (address == g.word(offset)) & mask[at]):
                    m.d.sync += nonzero[byte].eq(content.word_select(at, 8).any())
            with m.If(self.reset | self.busy):
                m.d.sync += nonzero.eq(0)

        # The mask bits, and where a read finds them, the cycle after.
        controls = Signal(g.data_width)
        was_read = Signal()
        was_at = Signal.like(self.read_address)
        for vector in range(vectors):
            offset = g.shell.msix_control(vector)
            word, lane = g.word(offset), g.lane(offset)
            with m.If(self.written & (address == word) & mask[4 * lane] & ~self.reset & ~self.busy):
                m.d.sync += masked[vector].eq(content[32 * lane])
            with m.If(was_at == word):
                m.d.comb += controls[32 * lane].eq(masked[vector])
        pba_word, pba_lane = g.word(g.shell.msix_pba_offset), g.lane(g.shell.msix_pba_offset)
        with m.If(was_at == pba_word):
            m.d.comb += controls[32 * pba_lane : 32 * pba_lane + vectors].eq(pending)

        # A cycle for the RAM; what comes of it goes into a register first.
        from_table = Signal()
        m.d.comb += [
            host_port.addr.eq((self.read_address - first_word)[:index_bits]),
            # Reads on: that there is a read is known late.
            host_port.en.eq(1),
            self.read_controls.eq(Mux(was_read, controls, 0)),
            from_table.eq(was_read & in_table(was_at)),
        ]
        m.d.sync += [
            was_read.eq(self.read_enable),
            was_at.eq(self.read_address),
            self.read_data.eq(Mux(from_table, host_port.data, 0)),
        ]

        self._send(m, pending, masked, Array(nonzero.any() for nonzero in upper), sender_port)
        return m

    def _stored_bytes(self, m, word, depth):
        """Byte mask of what the table's memory holds of ``word``: not the control dwords, nor what
        lies past the last vector."""
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
        """Pick a vector that may be sent, fetch its entry, offer the write."""
        g = self._geometry
        vectors = self._vectors
        words = max(1, MSIX_ENTRY_SIZE // g.word_bytes)
        entries = max(1, g.word_bytes // MSIX_ENTRY_SIZE)

        allowed = self.enable & ~self.function_mask & self.bus_master_enable & ~self.reset
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
        with m.If(self.reset):
            m.d.sync += refusable.eq(0)
        # That one is raised is known late.
        was_raised = Signal(vectors)
        blocked = Signal(vectors)
        m.d.comb += self.held.eq((was_raised & blocked).any())
        m.d.sync += [
            was_raised.eq(self.raised),
            blocked.eq(masked | (~allowed).replicate(vectors)),
            pending.eq((pending & ~sent) | self.raised | refused),
        ]
        with m.If(self.reset):
            m.d.sync += pending.eq(0)

        # That the write before leaves in this cycle is told too late for a RAM, which reads on.
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
                    m.d.sync += [self.o.valid.eq(1), requester_id.eq(self.requester_id)]
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
