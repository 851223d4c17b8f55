# SPDX-License-Identifier: BSD-2-Clause
"""Type 0 configuration space in gateware, built from :mod:`models.config_space`.

Configuration requests: PCI Express Base 4.0 sections 2.2.7.3 and 7.5; capture of the bus and device
number, 2.2.6.2; function-level reset, 6.6.2.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models import config_space as spec

from .errors import ErrorPulses
from .geometry import Geometry
from .interfaces import FunctionControl
from .tlp import (
    CompletionHeader,
    CompletionStatus,
    ConfigTarget,
    RequestHeader,
    TlpFormat,
    TlpType,
    raw_signature,
)

__all__ = ["ConfigSpace"]


class ConfigSpace(wiring.Component):
    """Configuration space registers, and the completions of requests to them.

    A request takes nine cycles, or longer while its completion stalls; one more request is
    buffered. ``i.ready`` is low until a request has taken effect, and for two more cycles. The
    completion waits until no TLP built under a former setting is inside the endpoint.

    Attributes
    ----------
    i : In(raw_signature(data_width))
        Type 0 configuration requests for function 0.
    discard : In(1)
        With a request: drop it.
    o : Out(raw_signature(data_width))
        Completions.
    bar : Out(32) array of 6
        Base address registers, flag bits included.
    control : Out(FunctionControl())
        Settings. Both ids are the bus and device number of the last configuration write, function
        0. Memory Space Enable and Bus Master Enable are low in D3hot, and while a function-level
        reset is pending. ``reset`` is a one-cycle pulse, after the completion of the write that
        initiates the reset has left.
    ext_tag_enable : Out(1)
        Extended Tag Field Enable.
    rcb_128b : Out(1)
        Read Completion Boundary, high for 128 bytes.
    settled : In(1)
        No TLP built under a former setting is inside. Sampled from the fourth cycle on after a
        request takes effect.
    departed : In(1)
        The completion accepted last leaves the endpoint in this cycle, or has left.
    errors : In(ErrorPulses())
        Errors of the core.
    malformed : In(1)
        Pulse: a received TLP was malformed.
    transactions_pending : In(1)
        Value of Transactions Pending in Device Status.
    """

    def __init__(self, geometry: Geometry):
        self._geometry = g = geometry
        self._registers = spec.config_space(g.shell, g.num_fifos, g.layout)
        super().__init__(
            {
                "i": In(raw_signature(g.data_width)),
                "discard": In(1),
                "o": Out(raw_signature(g.data_width)),
                "bar": Out(32).array(6),
                "control": Out(FunctionControl()),
                "ext_tag_enable": Out(1),
                "rcb_128b": Out(1),
                "settled": In(1),
                "departed": In(1),
                "malformed": In(1),
                "transactions_pending": In(1),
                "errors": In(ErrorPulses()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        request = Signal(self.i.p.shape())
        header = RequestHeader(request.hdr)
        target = ConfigTarget(header.dword2)

        execute = Signal()
        is_write = header.word0.has_payload
        poisoned = is_write & header.word0.ep
        dword = Signal(10)
        write_data = Signal(32)
        write_mask = Signal(32)
        write = Signal()
        m.d.comb += [
            dword.eq(target.register),
            write_data.eq(request.data[:32]),
            write_mask.eq(Cat(header.first_be[byte].replicate(8) for byte in range(4))),
            write.eq(execute & is_write & ~poisoned),
        ]

        settling = Signal(3)
        waiting = self._buffer_request(m, request, execute, settling)

        flr_pending = Signal()
        values = self._build_registers(
            m, dword, write, write_data, write_mask, execute & poisoned, flr_pending
        )
        flr = spec.INITIATE_FLR
        with m.If(write & (dword == flr.offset // 4) & write_mask[flr.lsb]):
            m.d.sync += flr_pending.eq(write_data[flr.lsb])

        pending = spec.TRANSACTIONS_PENDING
        read_value = Signal(32)
        with m.Switch(dword):
            for offset, value in values.items():
                with m.Case(offset // 4):
                    m.d.comb += read_value.eq(value)
                    if offset == pending.offset:
                        m.d.comb += read_value[pending.lsb].eq(self.transactions_pending)

        completion = Signal(CompletionHeader)
        completion_data = Signal(32)
        with m.FSM():
            with m.State("IDLE"), m.If(waiting):
                m.d.comb += execute.eq(1)
                status = Mux(
                    poisoned,
                    CompletionStatus.UNSUPPORTED_REQUEST.value,
                    CompletionStatus.SUCCESS.value,
                )
                m.d.sync += [
                    completion.word0.fmt.eq(
                        Mux(is_write, TlpFormat.HEADER_3DW.value, TlpFormat.DATA_3DW.value)
                    ),
                    completion.word0.type.eq(TlpType.COMPLETION),
                    completion.word0.length.eq(~is_write),
                    completion.word0.tc.eq(header.word0.tc),
                    completion.word0.attr.eq(header.word0.attr),
                    completion.word0.ido.eq(header.word0.ido),
                    completion.status.eq(status),
                    completion.byte_count.eq(4),
                    completion.requester_id.eq(header.requester_id),
                    completion.tag.eq(header.tag),
                    completion_data.eq(read_value),
                ]
                with m.If(is_write):
                    m.d.sync += self.control.completer_id.eq(
                        Cat(Const(0, 3), target.device, target.bus)
                    )
                m.next = "SETTLE"
            with m.State("SETTLE"), m.If(~settling.any() & self.settled):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.p.hdr.eq(completion),
                    self.o.p.hdr[80:96].eq(self.control.completer_id),
                    self.o.p.data.eq(completion_data),
                    self.o.p.strb.eq(completion.word0.fmt == TlpFormat.DATA_3DW),
                ]
                m.next = "SEND"
            with m.State("SEND"), m.If(self.o.ready):
                m.d.sync += self.o.valid.eq(0)
                m.next = "DEPART"
            with m.State("DEPART"), m.If(self.departed):
                m.d.sync += [self.control.reset.eq(flr_pending), flr_pending.eq(0)]
                m.next = "IDLE"
        m.d.comb += [self.o.p.sop.eq(1), self.o.p.eop.eq(1)]
        return m

    def _buffer_request(self, m, request, execute, settling):
        """Buffer one request while the previous completion is pending.

        ``settling`` delays ``execute`` by one cycle per bit. Returns a signal that is high while
        ``request`` waits for ``execute``.
        """
        # `free` stays low until the request has taken effect and the outputs derived from it are
        # valid, two cycles later, because later TLPs are matched against them. `i.valid` is late:
        # it drives `free` only.
        free = Signal(init=1)
        free_q = Signal()
        arrived = Signal()
        discard_q = Signal()
        waiting = Signal()
        drop = Signal()
        m.d.comb += [self.i.ready.eq(free), arrived.eq(free_q & ~free)]
        m.d.sync += [
            free_q.eq(free),
            settling.eq(Cat(execute, settling)),
            self.control.reset.eq(0),
        ]
        with m.If(free):
            m.d.sync += [
                request.eq(self.i.p),
                discard_q.eq(self.discard),
                free.eq(~(self.i.valid & self.i.p.sop)),
            ]
        with m.If(arrived):
            m.d.sync += [waiting.eq(~discard_q), drop.eq(discard_q)]
        with m.If(execute):
            m.d.sync += waiting.eq(0)
        with m.If(settling[1] | drop):
            m.d.sync += [free.eq(1), drop.eq(0)]
        return waiting

    def _build_registers(
        self, m, dword, write, write_data, write_mask, poisoned_write, flr_pending
    ):
        """Build a register for each bit that is not constant.

        Returns the value of each dword by its offset.
        """
        # An error that a completion reports is advisory, hence correctable (section 6.2.3.2.4.1).
        # So are `poisoned_write` and an unexpected completion (section 6.2.3.2.4.5).
        parity_error_response = Signal()
        errors = {
            spec.UNSUPPORTED_REQUEST_DETECTED: self.errors.unsupported_posted
            | self.errors.unsupported_non_posted,
            spec.CORRECTABLE_ERROR_DETECTED: self.errors.unsupported_non_posted
            | poisoned_write
            | self.errors.completion_unexpected,
            spec.NON_FATAL_ERROR_DETECTED: self.errors.unsupported_posted
            | self.errors.poisoned
            | self.errors.completion_poisoned
            | self.errors.completion_timeout,
            spec.FATAL_ERROR_DETECTED: self.malformed,
            spec.DETECTED_PARITY_ERROR: self.errors.poisoned
            | poisoned_write
            | self.errors.completion_poisoned,
            spec.MASTER_DATA_PARITY_ERROR: self.errors.completion_poisoned & parity_error_response,
            spec.RECEIVED_MASTER_ABORT: self.errors.completion_unsupported,
            spec.RECEIVED_TARGET_ABORT: self.errors.completion_aborted,
        }
        values = {}
        for offset, register in self._registers.items():
            variable = register.writable | register.write_one_clears
            if not variable:
                values[offset] = Const(register.reset, 32)
                continue
            value = Signal(32, init=register.reset, name=f"config_{offset:03x}")
            values[offset] = value
            selected = write & (dword == offset // 4)
            if offset == spec.POWER_STATE.offset:
                # D1 and D2 are not supported: ignore writes of them.
                state = spec.POWER_STATE
                new_state = write_data[state.lsb : state.lsb + state.width]
                selected &= (new_state == spec.POWER_D0) | (new_state == spec.POWER_D3HOT)
            for byte in range(4):
                with m.If(selected & write_mask[8 * byte]):
                    for bit in range(8 * byte, 8 * byte + 8):
                        if register.writable >> bit & 1:
                            m.d.sync += value[bit].eq(write_data[bit])
                        elif register.write_one_clears >> bit & 1:
                            with m.If(write_data[bit]):
                                m.d.sync += value[bit].eq(0)
            for field, error in errors.items():
                if field.offset == offset:
                    with m.If(error):
                        m.d.sync += value[field.lsb].eq(1)
            with m.If(self.control.reset):
                for bit in range(32):
                    if variable >> bit & 1 and not register.survives_flr >> bit & 1:
                        m.d.sync += value[bit].eq(register.reset >> bit & 1)

        def field(field):
            return values[field.offset][field.lsb : field.lsb + field.width]

        control = self.control
        in_d0 = field(spec.POWER_STATE) == spec.POWER_D0
        m.d.comb += [
            parity_error_response.eq(field(spec.PARITY_ERROR_RESPONSE)),
            control.requester_id.eq(control.completer_id),
            control.completion_timeout_disable.eq(field(spec.COMPLETION_TIMEOUT_DISABLE)),
            control.msix_enable.eq(field(spec.MSIX_ENABLE)),
            control.msix_mask.eq(field(spec.MSIX_FUNCTION_MASK)),
            control.max_payload_size.eq(field(spec.MAX_PAYLOAD_SIZE)),
            control.max_read_request_size.eq(field(spec.MAX_READ_REQUEST_SIZE)),
            self.ext_tag_enable.eq(field(spec.EXTENDED_TAG_ENABLE)),
            self.rcb_128b.eq(field(spec.READ_COMPLETION_BOUNDARY)),
        ]
        # A pending function-level reset clears both at once: from its completion on, the host
        # considers the function reset, so no request and no completion of an earlier read may
        # leave. Registered again: long routes.
        active = in_d0 & ~flr_pending & ~control.reset
        m.d.sync += [
            control.memory_space_enable.eq(field(spec.MEMORY_SPACE_ENABLE) & active),
            control.bus_master_enable.eq(field(spec.BUS_MASTER_ENABLE) & active),
        ]
        for bar in self._geometry.bar_sizes:
            m.d.comb += self.bar[bar].eq(values[spec.bar_offset(bar)])
        return values
