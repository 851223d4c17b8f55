# SPDX-License-Identifier: BSD-2-Clause
"""Configuration space in gateware: every register as declared, errors, settings and reset.

PCI Express Base 4.0 sections 2.2.7.3, 2.2.9, 6.6.2 and 7.5.
"""

from itertools import pairwise

import pytest
from streams import SIZES, UNTHROTTLED, Bench, geometry, packets_of, tlp_of

from hdl.config_space import ConfigSpace
from hdl.errors import ERRORS
from models import config_space as spec
from testbench.tlp import CplStatus
from testbench.tlp.packets import config_read, config_write
from testbench.tlp.rules import Outstanding, completion_rules, header_rules

ERROR_BITS = {
    "unsupported_posted": (spec.UNSUPPORTED_REQUEST_DETECTED, spec.NON_FATAL_ERROR_DETECTED),
    "unsupported_non_posted": (
        spec.UNSUPPORTED_REQUEST_DETECTED,
        spec.CORRECTABLE_ERROR_DETECTED,
    ),
    "poisoned": (spec.NON_FATAL_ERROR_DETECTED, spec.DETECTED_PARITY_ERROR),
    "completion_unexpected": (spec.CORRECTABLE_ERROR_DETECTED,),
    "completion_unsupported": (spec.RECEIVED_MASTER_ABORT,),
    "completion_aborted": (spec.RECEIVED_TARGET_ABORT,),
    "completion_poisoned": (spec.NON_FATAL_ERROR_DETECTED, spec.DETECTED_PARITY_ERROR),
    "completion_timeout": (spec.NON_FATAL_ERROR_DETECTED,),
    "malformed": (spec.FATAL_ERROR_DETECTED,),
    # A poisoned configuration write: its completion reports it.
    "refused": (spec.CORRECTABLE_ERROR_DETECTED, spec.DETECTED_PARITY_ERROR),
}
"""Status bits that each error sets (section 6.2, table 6-3; 7.5.1.1.4; 7.5.3.5)."""

SETTINGS = {
    "msix_enable": spec.MSIX_ENABLE,
    "msix_mask": spec.MSIX_FUNCTION_MASK,
    "max_payload_size": spec.MAX_PAYLOAD_SIZE,
    "max_read_request_size": spec.MAX_READ_REQUEST_SIZE,
    "completion_timeout_disable": spec.COMPLETION_TIMEOUT_DISABLE,
}


class Model:
    """The registers, from their declaration."""

    def __init__(self, g):
        self._registers = spec.config_space(g.shell, g.num_fifos, g.layout)
        self.values = {offset: each.reset for offset, each in self._registers.items()}
        self.completer_id = 0
        self.flr_pending = False
        self.transactions_pending = 0

    def read(self, offset):
        value = self.values.get(offset, 0)
        if offset == spec.TRANSACTIONS_PENDING.offset:
            value |= self.transactions_pending << spec.TRANSACTIONS_PENDING.lsb
        return value

    def field(self, field):
        return field.of(self.values[field.offset])

    def write(self, offset, value, first_be):
        register = self._registers.get(offset)
        if register is None:
            return
        mask = sum(0xFF << 8 * byte for byte in range(4) if first_be >> byte & 1)
        flr, state = spec.INITIATE_FLR, spec.POWER_STATE
        if offset == flr.offset and mask & flr.mask:
            self.flr_pending = bool(flr.of(value))
        if offset == state.offset and state.of(value) not in (spec.POWER_D0, spec.POWER_D3HOT):
            return
        writable, clears = register.writable & mask, register.write_one_clears & mask & value
        self.values[offset] = (self.values[offset] & ~writable | value & writable) & ~clears

    def report(self, error):
        """Set the status bits of an error."""
        for field in ERROR_BITS[error]:
            self.values[field.offset] |= field.mask
        if error == "completion_poisoned" and self.field(spec.PARITY_ERROR_RESPONSE):
            self.values[spec.COMMAND] |= spec.MASTER_DATA_PARITY_ERROR.mask

    def reset(self):
        """Function-level reset."""
        self.flr_pending = False
        for offset, register in self._registers.items():
            kept = register.survives_flr
            self.values[offset] = self.values[offset] & kept | register.reset & ~kept


class Device:
    """The rest of the endpoint around configuration space: errors, settings, departures."""

    def __init__(self, bench, model, sent):
        self._bench, self._model, self._sent = bench, model, sent
        self.expected = []
        self.resets = 0
        self._completed = 0
        self._departed = True
        bench.process(self._run)

    def completed(self, _):
        """A completion is accepted; it departs in a later cycle."""
        self._completed += 1
        self._departed = False

    def _execute(self, request):
        """Execute a request in the model, and expect its completion."""
        model = self._model
        data, status = b"", CplStatus.SC
        if request.has_data:
            model.completer_id = request.completer_id & ~7
            if request.ep:
                status = CplStatus.UR
                model.report("refused")
            else:
                value = int.from_bytes(request.payload, "little")
                model.write(request.address, value, request.first_be)
        else:
            data = model.read(request.address).to_bytes(4, "little")
        self.expected.append((request, model.completer_id, data, status))

    async def _run(self, ctx):
        bench, dut, rng, model = self._bench, self._bench.dut, self._bench.rng, self._model
        requests = 0
        was_valid, settled = False, 0
        quiet = 0
        waits_for_reset = False
        while True:
            departs = not bench.stalls()
            ctx.set(dut.departed, departs)
            was_settled, settled = settled, rng.random() < 0.7
            ctx.set(dut.settled, settled)
            # Errors come while no request is executed: the order of both would be open.
            idle = requests == self._completed and not model.flr_pending
            raised = None
            if idle and not bench.ended and rng.random() < 0.3:
                raised = rng.choice([*(cause.name for cause in ERRORS), "malformed"])
                model.transactions_pending = rng.getrandbits(1)
            for cause in ERRORS:
                ctx.set(getattr(dut.errors, cause.name), raised == cause.name)
            ctx.set(dut.malformed, raised == "malformed")
            ctx.set(dut.transactions_pending, model.transactions_pending)
            signals = (dut.i.valid, dut.i.ready, dut.discard, dut.o.valid, dut.control.reset)
            _, _, valid, ready, discard, completes, reset = await ctx.tick().sample(*signals)
            if completes and not was_valid:
                assert was_settled, "a completion before the former TLPs have left"
            was_valid = completes
            self._departed = self._departed or departs
            if reset:
                assert waits_for_reset, "a reset that the host did not write"
                assert requests == self._completed, "a reset before its completion"
                assert self._departed, "a reset before its completion has left"
                waits_for_reset = False
                model.reset()
                self.resets += 1
                quiet = 0
            quiet += 1
            # `ready` shows that the request before has taken effect. A reset takes a few cycles.
            if ready and quiet > 3:
                self._check_settings(ctx)
            if raised:
                model.report(raised)
                quiet = 0
            if valid and ready:
                request = self._sent.pop(0)
                if not discard:
                    self._execute(request)
                    waits_for_reset = waits_for_reset or model.flr_pending
                    requests += 1
                quiet = -1

    def _check_settings(self, ctx):
        dut, model = self._bench.dut, self._model
        control = dut.control
        for name, field in SETTINGS.items():
            assert ctx.get(getattr(control, name)) == model.field(field), name
        assert ctx.get(dut.ext_tag_enable) == model.field(spec.EXTENDED_TAG_ENABLE)
        assert ctx.get(dut.rcb_128b) == model.field(spec.READ_COMPLETION_BOUNDARY)
        assert ctx.get(control.completer_id) == ctx.get(control.requester_id) == model.completer_id
        active = model.field(spec.POWER_STATE) == spec.POWER_D0 and not model.flr_pending
        for name, field in (
            ("memory_space_enable", spec.MEMORY_SPACE_ENABLE),
            ("bus_master_enable", spec.BUS_MASTER_ENABLE),
        ):
            assert ctx.get(getattr(control, name)) == (model.field(field) and active), name
        for bar in range(6):
            assert ctx.get(dut.bar[bar]) == model.values.get(spec.bar_offset(bar), 0), f"BAR{bar}"


def random_request(rng, offsets):
    """A read or write of a register, most of them of those that exist."""
    offset = rng.choice(offsets) if rng.random() < 0.9 else rng.randrange(0, 4096, 4)
    # Function 0 of any device.
    target = rng.getrandbits(13) << 3
    fields = {
        "requester_id": rng.getrandbits(16),
        "tag": rng.getrandbits(8),
        "attr": rng.getrandbits(3),
    }
    if rng.random() < 0.5:
        return config_read(target, offset, **fields)
    value = rng.choice([rng.getrandbits(32), 0, 0xFFFF_FFFF])
    if offset == spec.DEVICE_CONTROL and rng.random() < 0.8:
        value &= ~spec.INITIATE_FLR.mask
    first_be = rng.choice([0xF, 0x3, 0xC, rng.getrandbits(4)])
    return config_write(target, offset, value, first_be, ep=rng.random() < 0.05, **fields)


@pytest.mark.parametrize("width, fifos", SIZES)
def test_registers_behave_as_declared(width, fifos):
    g = geometry(width, fifos)
    dut = ConfigSpace(g)
    bench = Bench(dut, width)
    model = Model(g)
    sent = []
    device = Device(bench, model, sent)
    # The registers with bits that change are written more often.
    offsets = [*model.values, spec.COMMAND, spec.DEVICE_CONTROL, spec.POWER_STATE.offset] * 2

    def packets():
        while True:
            if model.flr_pending:
                # The host must not access the function before the reset is complete.
                yield []
                continue
            request = random_request(bench.rng, offsets)
            if len(device.expected) % 8 == 5:
                request = config_write(0, spec.DEVICE_CONTROL, spec.INITIATE_FLR.mask)
            sent.append(request)
            (beat,) = request.beats(width)
            if not request.has_data:
                del beat["strb"], beat["data"]
            yield [beat | {"discard": bench.rng.random() < 0.05}]

    bench.source(dut.i, packets(), discard=dut.discard)
    received = bench.sink(dut.o, device.completed)
    bench.run()
    found = [tlp_of(packet) for packet in packets_of(received)]
    assert len(found) == len(device.expected) > 10
    assert device.resets
    for tlp, (request, completer_id, data, status) in zip(found, device.expected, strict=True):
        violations = [
            *header_rules(tlp),
            *completion_rules(tlp, Outstanding(request, {completer_id}), max_payload_size=128),
        ]
        assert not violations, "; ".join(map(str, violations))
        assert (tlp.status, tlp.payload) == (status, data), f"{request}"


def test_requests_complete_within_nine_cycles():
    dut = ConfigSpace(geometry(128))
    bench = Bench(dut, paces=UNTHROTTLED)

    async def settled(ctx):
        ctx.set(dut.settled, 1)
        ctx.set(dut.departed, 1)

    bench.process(settled)
    beats = [beat | {"discard": 0} for beat in config_read(0x100, 0).beats(128)]
    bench.source(dut.i, [beats] * 4, discard=dut.discard)
    received = bench.sink(dut.o)
    bench.run()
    cycles = [beat["cycle"] for beat in received]
    assert len(cycles) == 4
    assert max(later - earlier for earlier, later in pairwise([0, *cycles])) <= 9
