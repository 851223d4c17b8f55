# SPDX-License-Identifier: BSD-2-Clause
"""Protocol monitor: follows an endpoint's TLPs in both directions and checks those it transmits.

The rules are in :mod:`testbench.tlp.rules`. The monitor keeps the state between packets:
outstanding requests, the bus and device number from configuration writes, and the settings that
they make (:mod:`testbench.tlp.settings`).

:class:`TlpMonitor` needs no simulator: feed it with :meth:`~TlpMonitor.host_sent` and
:meth:`~TlpMonitor.design_sent`. :meth:`TlpMonitor.attach` connects it to a design's ports, where a
violation ends the test at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from models import config_space as space

from .codec import CompletionErrorCode, CplStatus, Tlp, TlpKind, id_text
from .outstanding_reads import OutstandingReads
from .rules import (
    Outstanding,
    Violation,
    advance,
    completion_rules,
    header_rules,
    is_malformed,
    request_rules,
)
from .settings import Settings
from .traffic import Traffic

CORE_TO_DESIGN = ("rx_req_tlp", "rx_cpl_tlp")
CORE_FROM_DESIGN = ("tx_cpl_tlp", "tx_msix_wr_req_tlp", "tx_rd_req_tlp", "tx_wr_req_tlp")
"""Bundles from a design behind a hard block, for :meth:`TlpMonitor.attach`.

The last two exist with a DMA window. MSI-X writes are on the second, or on the last if the second
does not exist.
"""


def bundles_of(dut: Any) -> tuple[str, ...]:
    """The bundles of :data:`CORE_FROM_DESIGN` that ``dut`` has."""
    return tuple(name for name in CORE_FROM_DESIGN if hasattr(dut, f"{name}_valid"))


def interrupt_bundle(dut: Any) -> str:
    """The bundle of :data:`CORE_FROM_DESIGN` that carries the MSI-X writes of ``dut``."""
    bundles = bundles_of(dut)
    return CORE_FROM_DESIGN[1] if CORE_FROM_DESIGN[1] in bundles else bundles[-1]


class ProtocolViolation(AssertionError):
    """The design violated the protocol.

    Attributes
    ----------
    violations
        The violations, at least one.
    """

    def __init__(self, violations: list[Violation], time_ns: float | None = None) -> None:
        self.violations = violations
        when = "" if time_ns is None else f" at {time_ns:.1f} ns"
        super().__init__(f"PCI Express{when}: " + "; ".join(str(item) for item in violations))


class HostMistake(RuntimeError):
    """The test itself violated the protocol, which invalidates the checks of the design."""


class TlpMonitor:
    """Checks the packets of one function.

    Parameters
    ----------
    device_id
        16-bit id of the function, if the monitor sees no configuration writes (the design is behind
        a hard block); ``None`` to learn it from configuration writes.
    max_payload_size, max_read_request_size
        Bytes, until a write to ``device_control`` changes them.
    extended_tags
        Whether the design's reads may have 8-bit tags, until a write to ``device_control`` changes
        it.
    completion_timeout_ns
        Simulated ns after which the design may reuse the tag of an incomplete read; ``None`` for
        never. Requires ``now``.
    bus_master
        Whether the design may send requests; ``None`` to learn it from the Command register.
    device_control, power_control
        Offsets of the Device Control and the Power Management Control/Status register in
        configuration space; ``None`` to ignore the register.
    always_four_dwords
        Whether the design's requests must have 4-dword headers even below 4 GiB.
    fatal
        Whether to raise :class:`ProtocolViolation` at once rather than only to collect violations.
    now
        Returns the simulation time in ns.

    Attributes
    ----------
    violations
        All violations so far.
    on_violation
        Called with each violation.
    completions, requests
        Number of completions and requests that the design has sent.
    traffic
        The design's memory reads and writes, interrupts included.
    settings
        Settings of the function.
    device_id
        16-bit id of the function, ``None`` before it is known.

    Raises
    ------
    ValueError
        ``completion_timeout_ns`` is set without ``now``.
    """

    def __init__(
        self,
        *,
        device_id: int | None = None,
        max_payload_size: int = 128,
        max_read_request_size: int = 512,
        extended_tags: bool = False,
        completion_timeout_ns: float | None = None,
        bus_master: bool | None = None,
        device_control: int | None = space.DEVICE_CONTROL,
        power_control: int | None = space.POWER_STATE.offset,
        always_four_dwords: bool = False,
        fatal: bool = True,
        now: Callable[[], float] | None = None,
    ) -> None:
        if completion_timeout_ns is not None and now is None:
            raise ValueError("completion_timeout_ns requires now")
        self._initial_id = device_id
        self._always_four_dwords = always_four_dwords
        self.settings = Settings(
            max_payload_size=max_payload_size,
            max_read_request_size=max_read_request_size,
            extended_tags=extended_tags,
            bus_master=bus_master,
            device_control=device_control,
            power_control=power_control,
        )
        self.settings.on_function_reset = self.forget_outstanding
        self.fatal = fatal
        self.now = now
        self.violations: list[Violation] = []
        self.on_violation: Callable[[Violation], None] = lambda violation: None
        self.completions = 0
        self.requests = 0
        self.traffic = Traffic()
        self._after_reset: Callable[[], None] = lambda: None
        self._outstanding_reads = OutstandingReads(completion_timeout_ns, now or (lambda: 0.0))
        self.reset()

    def reset(self) -> None:
        """Drop outstanding requests and settings: the design was reset."""
        self.settings.reset()
        self.device_id = device_id = self._initial_id
        self._learns_id = device_id is None
        # Before its first configuration write, a function completes with id 0 (section 2.2.6.2).
        self._completer_id = 0 if device_id is None else device_id
        self._host_requests: dict[tuple[int, int], Outstanding] = {}
        self._outstanding_reads.clear()

    def forget_outstanding(self) -> None:
        """Make the completions of all outstanding requests optional.

        A function-level reset may drop requests (section 6.6.2); the monitor calls this when one
        completes.
        """
        for pending in self._host_requests.values():
            pending.optional = True
        self._outstanding_reads.clear()

    @property
    def max_payload_size(self) -> int:
        """Longest payload that the design may send, in bytes."""
        return self.settings.max_payload_size.limit

    @property
    def max_read_request_size(self) -> int:
        """Longest read that the design may send, in bytes."""
        return self.settings.max_read_request_size.limit

    @property
    def extended_tags(self) -> bool:
        """Whether reads of the design may have 8-bit tags."""
        return bool(self.settings.extended_tags.limit)

    @property
    def outstanding(self) -> list[Tlp]:
        """Requests of the host that still require a completion."""
        return [pending.request for pending in self._host_requests.values() if not pending.optional]

    def host_sent(self, tlp: Tlp, error: int = CompletionErrorCode.NONE) -> None:
        """Record a packet that the design accepted.

        Parameters
        ----------
        tlp
            The packet.
        error
            For a completion: the hard block's error code.

        Raises
        ------
        HostMistake
            Its tag belongs to an outstanding request.
        """
        if tlp.is_completion:
            if tlp.requester_id == self.device_id:
                # With these two codes, the header decides whether the read continues.
                unbroken = (CompletionErrorCode.NONE, CompletionErrorCode.POISONED)
                self._outstanding_reads.completed(tlp, broken=error not in unbroken)
            return
        if not tlp.is_non_posted or is_malformed(tlp, self.max_payload_size):
            return
        key = (tlp.requester_id, tlp.tag)
        earlier = self._host_requests.get(key)
        if earlier is not None and not earlier.optional:
            raise HostMistake(f"tag {tlp.tag:#x} of {id_text(key[0])} is in use: {tlp}")
        if earlier is not None:
            # A reset dropped the earlier request; its completion will not arrive.
            self.settings.completed(key, CplStatus.UR)
        if tlp.kind == TlpKind.CFGWR0:
            self._config_write(tlp, key)
        self._host_requests[key] = Outstanding(
            tlp, {self._completer_id}, memory_space=self.settings.memory_space
        )

    def design_sent(self, tlp: Tlp) -> None:
        """Check a packet that the design transmitted.

        Raises
        ------
        ProtocolViolation
            The packet violates a rule and the monitor is ``fatal``.
        """
        self.report(self._check(tlp))

    def finish(self) -> None:
        """Require that no request is outstanding and that there were no violations.

        Raises
        ------
        ProtocolViolation
            A request lacks completions, or violations have been collected.
        """
        missing = [
            Violation("no-completion", "2.3.1", "request without a complete answer", request)
            for request in self.outstanding
        ]
        self.violations += missing
        if self.violations:
            raise ProtocolViolation(self.violations, self.now() if self.now else None)

    def report(self, violations: Iterable[Violation]) -> None:
        """Collect ``violations``; raise them if the monitor is ``fatal``."""
        found = list(violations)
        self.violations += found
        for violation in found:
            self.on_violation(violation)
        if found and self.fatal:
            raise ProtocolViolation(found, self.now() if self.now else None)

    def _check(self, tlp: Tlp) -> Iterator[Violation]:
        broken = list(header_rules(tlp))
        yield from broken
        if any(item.rule == "type" for item in broken):
            return
        if tlp.is_completion:
            self.completions += 1
            yield from self._check_completion(tlp)
        else:
            self.requests += 1
            yield from self._check_request(tlp)

    def _check_completion(self, tlp: Tlp) -> Iterator[Violation]:
        key = (tlp.requester_id, tlp.tag)
        pending = self._host_requests.get(key)
        if pending is None:
            yield Violation(
                "unexpected-completion", "2.3.1", "no request waits for this answer", tlp
            )
            return
        yield from completion_rules(tlp, pending, max_payload_size=self.max_payload_size)
        yield from self.settings.completion_rules(tlp, pending)
        if advance(tlp, pending):
            del self._host_requests[key]
            self.settings.completed(key, tlp.status)

    def _check_request(self, tlp: Tlp) -> Iterator[Violation]:
        yield from request_rules(
            tlp,
            requester_id=self.device_id,
            max_payload_size=self.max_payload_size,
            max_read_request_size=self.max_read_request_size,
            extended_tags=self.extended_tags,
            always_four_dwords=self._always_four_dwords,
        )
        self.traffic.count(tlp)
        yield from self.settings.request_rules(tlp)
        if tlp.kind in (TlpKind.MRD32, TlpKind.MRD64):
            if self._outstanding_reads.in_use(tlp.tag):
                yield Violation("tag", "2.2.6.2", f"tag {tlp.tag:#x} is in use", tlp)
            self._outstanding_reads.sent(tlp)

    def _config_write(self, tlp: Tlp, key: tuple[int, int]) -> None:
        if self._learns_id:
            self.device_id = self._completer_id = tlp.completer_id & ~7
            for pending in self._host_requests.values():
                pending.completer_ids.add(self._completer_id)
        self.settings.written(tlp, key)

    def set_max_payload_size(self, size: int) -> None:
        """Set the size at once, if it comes from neither configuration writes nor pins."""
        self.settings.max_payload_size.set(size)

    @classmethod
    def attach(
        cls,
        dut: Any,
        *,
        to_design: Iterable[str] = ("rx_tlp",),
        from_design: Iterable[str] = ("tx_tlp",),
        clk: Any = None,
        reset: Any = None,
        follow_pins: bool = False,
        **options: Any,
    ) -> TlpMonitor:
        """Create a monitor on the ports of ``dut``; it also checks the protocol of the streams.

        Parameters
        ----------
        dut
            The design's top.
        to_design, from_design
            Prefixes of the TLP bundles to watch, such as :data:`CORE_TO_DESIGN` and
            :func:`bundles_of`.
        clk, reset
            Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``. A reset calls
            :meth:`reset`.
        follow_pins
            Whether to take settings from configuration pins (:mod:`testbench.tlp.pins`).
        **options
            Arguments of the constructor.
        """
        # Imported here: the monitor works on recorded packets without cocotb.
        import cocotb
        from cocotb.utils import get_sim_time

        from ..stream.tlp import TlpPacket, TlpWatcher
        from .pins import PinFollower

        monitor = cls(now=lambda: get_sim_time("ns"), **options)

        def watch(prefix: str, take: Callable[[TlpPacket], None]) -> None:
            TlpWatcher(dut, prefix, clk=clk, reset=reset, on_packet=take)

        for prefix in to_design:
            watch(prefix, lambda packet: monitor.host_sent(packet.tlp, packet.error))
        for prefix in from_design:
            watch(prefix, lambda packet: monitor.design_sent(packet.tlp))
        reset_signal = getattr(dut, "rst", None) if reset is None else reset
        if follow_pins:
            pins = PinFollower(
                dut, monitor.settings, clk=dut.clk if clk is None else clk, reset=reset_signal
            )
            monitor._after_reset = pins.apply
        if reset_signal is not None:
            cocotb.start_soon(monitor._follow_reset(reset_signal))
        return monitor

    async def _follow_reset(self, reset_signal: Any) -> None:
        while True:
            await reset_signal.rising_edge
            self.reset()
            self._after_reset()
