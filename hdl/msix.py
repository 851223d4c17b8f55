# SPDX-License-Identifier: BSD-2-Clause
"""MSI-X: table, pending bits, masks, and the memory writes that interrupt the host.

PCI Express Base 4.0 section 6.1.4 and 7.7.2 (PCI Local Bus 3.0 section 6.8.2). An interrupt that is
raised while it is masked or disabled stays pending until it may be sent. Vectors are masked after
reset.
"""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from models.shell import MSIX_CONTROL_OFFSET, MSIX_ENTRY_SIZE

from .arbiter import round_robin
from .departures import former_beat
from .geometry import Geometry
from .interfaces import FunctionControl, WordRead, WordWrite
from .tlp import RequestHeader, memory_header

__all__ = ["MsixController", "MsixHostPort", "interrupt_signature"]


def interrupt_signature() -> stream.Signature:
    """Stream of MSI-X writes: ``data[32]``, ``strb[1]``, ``hdr[128]``, ``sop``, ``eop``."""
    return stream.Signature(
        data.StructLayout({"data": 32, "strb": 1, "hdr": 128, "sop": 1, "eop": 1})
    )


class MsixHostPort(wiring.Signature):
    """Access of the host to the MSI-X BAR. It never fetches a word in the cycle of a write.

    Attributes
    ----------
    write : Out(WordWrite(word_address_bits, data_width))
        Write.
    write_ready : In(1)
        The host may write in the next cycle. Low while the table is cleared.
    read : Out(WordRead(word_address_bits, data_width))
        Read. Data is valid one cycle later; zero when nothing was read. ``enable`` may be high
        where the word is not fetched.
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
        # At least two words: the address of a memory of one has no bits, which Verilog cannot
        # express. A power of two, so that the upper bits of an address select the table.
        words = -(-self._vectors * MSIX_ENTRY_SIZE // g.word_bytes)
        self._index_bits = max(1, (words - 1).bit_length())
        self._depth = 1 << self._index_bits
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
        vectors = self._vectors
        masked = Signal(vectors, init=-1)
        pending = Signal(vectors)
        # Software does not write an entry that is unmasked (PCI Local Bus 3.0 section 6.8.2), so
        # the sender's read during a host write need not be defined. Distributed RAM: the table is
        # wide and shallow, and would leave several block RAMs almost empty.
        m.submodules.table = table = memory.Memory(
            shape=self._geometry.data_width,
            depth=self._depth,
            init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        port = table.write_port(granularity=8)
        host_port = table.read_port(domain="comb")
        sender_port = table.read_port()
        # Nonzero bytes in the upper half of each address of a word. An address above 4 GiB changes
        # the header's format, and the output of the table is too late to select it.
        m.submodules.upper = upper = memory.Memory(
            shape=4 * len(self._upper_lanes),
            depth=self._depth,
            init=[],
            attrs={"ram_style": "distributed", "no_rw_check": 1},
        )
        upper_port = upper.write_port(granularity=1)
        for at, lane in enumerate(self._upper_lanes):
            for byte in range(4):
                m.d.comb += [
                    upper_port.data[4 * at + byte].eq(
                        port.data.word_select(4 * lane + byte, 8).any()
                    ),
                    upper_port.en[4 * at + byte].eq(port.en[4 * lane + byte]),
                ]
        sender_upper = upper.read_port()
        m.d.comb += [
            upper_port.addr.eq(port.addr),
            sender_upper.addr.eq(sender_port.addr),
            sender_upper.en.eq(1),
        ]

        self._write_words(m, port, masked)
        self._read_words(m, host_port, masked, pending)
        self._send(m, pending, masked, sender_port, sender_upper.data)
        return m

    def _table_word(self, address):
        """Word of the table at ``address``, and whether ``address`` is in the table."""
        offset = address - self._geometry.word(self._geometry.shell.msix_table_offset)
        return offset[: self._index_bits], offset[self._index_bits :] == 0

    @property
    def _upper_lanes(self):
        """Lanes of a word in which the upper halves of addresses lie."""
        g = self._geometry
        first = g.lane(g.shell.msix_entry(0) + 4)
        return range(first, g.lanes, MSIX_ENTRY_SIZE // 4)

    def _write_words(self, m, port, masked):
        """Clear the table, or execute a host write one cycle after it is accepted."""
        g = self._geometry
        clearing = Signal(range(self._depth + 1))
        # Register the write: `enable` is late and has high fan-out here.
        write_q = Signal()
        address_q = Signal.like(self.host.write.address)
        data_q = Signal.like(self.host.write.data)
        mask_q = Signal.like(self.host.write.mask)
        m.d.sync += [
            write_q.eq(self.host.write.enable),
            address_q.eq(self.host.write.address),
            data_q.eq(self.host.write.data),
            mask_q.eq(self.host.write.mask),
        ]
        m.d.comb += [
            self.host.write_ready.eq(~(self.control.reset | self.busy)),
            self.host.read_ready.eq(~(self.busy | write_q)),
        ]

        with m.If(self.control.reset):
            m.d.sync += [self.busy.eq(1), clearing.eq(0), masked.eq(-1)]
        with m.Elif(self.busy):
            m.d.sync += [clearing.eq(clearing + 1), self.busy.eq(clearing != self._depth - 1)]
        with m.If(self.control.reset | self.busy):
            m.d.sync += data_q.eq(0)
        word, in_table = self._table_word(address_q)
        m.d.comb += port.data.eq(data_q)
        with m.If(self.busy):
            m.d.comb += [port.addr.eq(clearing), port.en.eq(-1)]
        with m.Else():
            m.d.comb += port.addr.eq(word)
            with m.If(write_q & in_table):
                m.d.comb += port.en.eq(mask_q & self._stored_bytes(m, port.addr))

        for vector in range(self._vectors):
            offset = g.shell.msix_control(vector)
            lane = g.lane(offset)
            with m.If(
                write_q
                & (address_q == g.word(offset))
                & mask_q[4 * lane]
                & ~self.control.reset
                & ~self.busy
            ):
                m.d.sync += masked[vector].eq(data_q[32 * lane])

    def _read_words(self, m, port, masked, pending):
        """Serve host reads."""
        g = self._geometry
        read_q = Signal()
        address_q = Signal.like(self.host.read.address)
        controls = Signal(g.data_width)
        for vector in range(self._vectors):
            offset = g.shell.msix_control(vector)
            with m.If(address_q == g.word(offset)):
                m.d.comb += controls[32 * g.lane(offset)].eq(masked[vector])
        pba_offset = g.shell.msix_pba_offset
        with m.If(address_q == g.word(pba_offset)):
            m.d.comb += controls[32 * g.lane(pba_offset) :][: self._vectors].eq(pending)

        word, in_table = self._table_word(self.host.read.address)
        table_q = Signal(g.data_width, reset_less=True)
        m.d.comb += [
            port.addr.eq(word),
            self.host.read.data.eq(table_q | Mux(read_q, controls, 0)),
        ]
        m.d.sync += [
            read_q.eq(self.host.read.enable),
            address_q.eq(self.host.read.address),
            table_q.eq(port.data),
        ]
        # Synthesis maps this to the synchronous reset of the register.
        with m.If(~(self.host.read.enable & in_table)):
            m.d.sync += table_q.eq(0)

    def _stored_bytes(self, m, word):
        """Mask of the bytes of ``word`` that the table's memory stores: neither the control dwords
        nor bytes past the last vector."""
        g = self._geometry
        stored = Signal(g.word_bytes)
        for index in range(self._depth):
            mask = 0
            for byte in range(g.word_bytes):
                offset = index * g.word_bytes + byte
                entry, within = divmod(offset, MSIX_ENTRY_SIZE)
                if entry < self._vectors and within < MSIX_CONTROL_OFFSET:
                    mask |= 1 << byte
            with m.If(word == index):
                m.d.comb += stored.eq(mask)
        return stored

    def _send(self, m, pending, masked, port, upper):
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
        # `allowed` is late. One cycle late, it still decides well when to look at a vector; itself,
        # it decides whether the vector is sent.
        allowed_q = Signal()
        due = Signal(vectors)
        vector = Signal(range(max(vectors, 2)))
        sent = Signal(vectors)
        fetches = Signal()
        m.d.comb += due.eq(pending & ~masked)
        m.d.sync += allowed_q.eq(allowed)
        picked = self._pick(m, due, Mux(fetches, 1 << vector, 0))
        sent_vector = Signal.like(vector)
        refusable = Signal()
        refused = Signal(vectors)
        m.d.comb += refused.eq((self.refused & refusable) << sent_vector)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [sent_vector.eq(vector), refusable.eq(1)]
        with m.Elif(self.refused):
            m.d.sync += refusable.eq(0)
        with m.If(self.control.reset):
            m.d.sync += refusable.eq(0)
        # `raised` is late, so `held` follows one cycle later.
        raised_q = Signal(vectors)
        blocked_q = Signal(vectors)
        m.d.comb += self.held.eq((raised_q & blocked_q).any())
        m.d.sync += [
            raised_q.eq(self.raised),
            blocked_q.eq(masked | (~allowed).replicate(vectors)),
            pending.eq((pending & ~sent) | self.raised | refused),
        ]
        with m.If(self.control.reset):
            m.d.sync += pending.eq(0)

        # Always enabled: `o.ready` is too late for the enable of a RAM.
        m.d.comb += port.en.eq(1)
        # The header without the requester ID.
        header = Signal(128)
        requester_id = Signal(16)
        content = Signal(32)
        number = vector % entries
        entry = port.data.word_select(number, MSIX_ENTRY_SIZE * 8) if words == 1 else port.data
        long = Const(1) if g.block.force_64_bit_addresses else upper.word_select(number, 4).any()
        loads = Signal()
        with m.If(loads):
            m.d.sync += [
                header.eq(
                    memory_header(
                        address=entry[2:64],
                        long=long,
                        length=Const(1, 10),
                        first_be=Const(0xF, 4),
                        last_be=Const(0, 4),
                        requester_id=Const(0, 16),
                        write=True,
                    )
                ),
                # In place of a multiplexer with zero: the reset below.
                header[2:32].eq(entry[2:32]),
            ]
        # Synthesis maps this to the synchronous reset of the register.
        with m.If(loads & ~long):
            m.d.sync += header[2:32].eq(0)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += port.addr.eq(picked * words if words > 1 else picked // entries)
                due_next = allowed_q & due.bit_select(picked, 1)
                with m.If(due_next & (~self.o.valid | self.o.ready)):
                    m.d.sync += vector.eq(picked)
                    m.next = "ADDRESS" if words > 1 else "FETCH"
            if words > 1:
                with m.State("ADDRESS"):
                    m.d.comb += port.addr.eq(vector * words + 1)
                    m.d.comb += loads.eq(1)
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += fetches.eq(1)
                if words == 1:
                    m.d.comb += loads.eq(1)
                m.d.sync += [
                    content.eq(entry[64 % g.data_width :][:32]),
                    requester_id.eq(self.control.requester_id),
                ]
                with m.If(allowed & due.bit_select(vector, 1)):
                    m.d.comb += sent.eq(1 << vector)
                    m.d.sync += self.o.valid.eq(1)
                m.next = "IDLE"
        m.d.comb += [
            self.former.eq(former_beat(m, self.o, ~allowed)),
            self.o.p.hdr.eq(header),
            data.View(RequestHeader, self.o.p.hdr).requester_id.eq(requester_id),
            self.o.p.data.eq(content),
            self.o.p.strb.eq(1),
            self.o.p.sop.eq(1),
            self.o.p.eop.eq(1),
        ]

    @staticmethod
    def _pick(m, due, fetched):
        """The vector to send next, selected round robin.

        Registered: selection is as long a path as the read of the table. It is only a hint:
        `due` decides in the cycle itself. After a pause, a vector other than the last one
        leaves one cycle later.
        """
        picked = Signal(range(max(len(due), 2)))
        if len(due) > 1:
            others = due & ~fetched
            with m.If(others.any() & ~others.bit_select(picked, 1)):
                m.d.sync += picked.eq(round_robin(others, picked))
        return picked
