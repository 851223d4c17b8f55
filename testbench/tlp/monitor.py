# SPDX-License-Identifier: BSD-2-Clause
"""Protocol monitor: follows both directions of an endpoint's TLPs and judges what it transmits.

The rules are those of :mod:`testbench.tlp.rules`; here is what has to be remembered between packets:
which requests wait for an answer, what configuration writes told the device (its bus and device
number), and what they allow it (:mod:`testbench.tlp.settings`).

:class:`TlpMonitor` itself needs no simulator: feed it with :meth:`~TlpMonitor.host_sent` and
:meth:`~TlpMonitor.design_sent`. :meth:`TlpMonitor.attach` puts it on a design's ports, where a
violation ends the test at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from models import config_space as space

from .codec import CompletionErrorCode, CplStatus, Tlp, TlpKind, id_text
from .outstanding_reads import OwnReads
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
"""Bundles that a design behind a hard block may have, for :meth:`TlpMonitor.attach`: the last two
with a DMA window, and MSI-X writes on the last one of them or on the second."""


def bundles_of(dut: Any) -> tuple[str, ...]:
    """Those of :data:`CORE_FROM_DESIGN` that ``dut`` has."""
    return tuple(name for name in CORE_FROM_DESIGN if hasattr(dut, f"{name}_valid"))


def interrupt_bundle(dut: Any) -> str:
    """The one of :data:`CORE_FROM_DESIGN` that MSI-X writes leave ``dut`` on."""
    bundles = bundles_of(dut)
    return CORE_FROM_DESIGN[1] if CORE_FROM_DESIGN[1] in bundles else bundles[-1]


class ProtocolViolation(AssertionError):
    """The design broke a rule.

    Attributes
    ----------
    violations
        What it broke, at least one.
    """

    def __init__(self, violations: list[Violation], time_ns: float | None = None) -> None:
        self.violations = violations
        when = "" if time_ns is None else f" at {time_ns:.1f} ns"
        super().__init__(f"PCI Express{when}: " + "; ".join(str(item) for item in violations))


class HostMistake(RuntimeError):
    """The test itself broke a rule, so nothing can be said about the design."""


class TlpMonitor:
    """Judges the packets of one function.

    Parameters
    ----------
    device_id
        16 bits that completions and requests must carry, where no configuration writes pass by
        (the design sits behind a hard block); ``None`` to learn it from them.
    max_payload_size, max_read_request_size
        Bytes, until a write to ``device_control`` says otherwise.
    extended_tags
        Whether the design's reads may have 8-bit tags, until a write to ``device_control`` says
        otherwise.
    completion_timeout_ns
        Simulated ns after which the design may use the tag of a read again that got no complete
        answer; ``None`` for never. Needs ``now``.
    bus_master
        Whether the design may send requests; ``None`` to learn it from the command register.
    device_control, power_control
        Offsets of the Device Control and the Power Management Control/Status register in
        configuration space; ``None`` not to follow one.
    always_four_dwords
        Whether the design's requests have to have headers of four dwords below 4 GiB, too.
    fatal
        Whether to raise :class:`ProtocolViolation`; otherwise violations only collect.
    now
        Simulation time in ns, for the messages.

    Attributes
    ----------
    violations
        Everything found so far.
    on_violation
        Called with each when it is found.
    completions, requests
        Packets of each kind that the design has sent.
    traffic
        Its own memory reads and writes, interrupts included.
    settings
        What the host allows the design.

    Raises
    ------
    ValueError
        There is a completion timeout and no time.
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
            raise ValueError("completion_timeout_ns needs now: there is no time without it")
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
        self._own_reads = OwnReads(completion_timeout_ns, now or (lambda: 0.0))
        self.reset()

    def reset(self) -> None:
        """Forget requests and configuration: the design was reset."""
        self.settings.reset()
        self.device_id = device_id = self._initial_id
        self._learns_id = device_id is None
        # A function that has not been told its number calls itself 0 (section 2.2.6.2).
        self._completer_id = 0 if device_id is None else device_id
        self._host_requests: dict[tuple[int, int], Outstanding] = {}
        self._own_reads.clear()

    def forget_outstanding(self) -> None:
        """Accept answers to what was asked so far, but do not miss them.

        A function-level reset may drop requests (section 6.6.2); the monitor calls this by itself
        when one completes.
        """
        for pending in self._host_requests.values():
            pending.optional = True
        self._own_reads.clear()

    @property
    def max_payload_size(self) -> int:
        """Bytes that a payload of the design may have."""
        return self.settings.max_payload_size.most

    @property
    def max_read_request_size(self) -> int:
        """Bytes that a read of the design may ask for."""
        return self.settings.max_read_request_size.most

    @property
    def extended_tags(self) -> bool:
        """Whether reads of the design may have 8-bit tags."""
        return bool(self.settings.extended_tags.most)

    @property
    def outstanding(self) -> list[Tlp]:
        """Requests of the host that must still be answered."""
        return [pending.request for pending in self._host_requests.values() if not pending.optional]

    def host_sent(self, tlp: Tlp, error: int = CompletionErrorCode.NONE) -> None:
        """Take note of a packet that the design accepted.

        Parameters
        ----------
        tlp
            The packet.
        error
            Of a completion: what a hard block says is wrong with it.

        Raises
        ------
        HostMistake
            Its tag is in use by a request that has no answer yet.
        """
        if tlp.is_completion:
            if tlp.requester_id == self.device_id:
                # What these two say, the header says too.
                told = (CompletionErrorCode.NONE, CompletionErrorCode.POISONED)
                self._own_reads.answered(tlp, broken=error not in told)
            return
        if not tlp.is_non_posted or is_malformed(tlp, self.max_payload_size):
            return
        key = (tlp.requester_id, tlp.tag)
        earlier = self._host_requests.get(key)
        if earlier is not None and not earlier.optional:
            raise HostMistake(f"tag {tlp.tag:#x} of {id_text(key[0])} is in use: {tlp}")
        if earlier is not None:
            # Its completion does not come any more.
            self.settings.completed(key, CplStatus.UR)
        if tlp.kind == TlpKind.CFGWR0:
            self._config_write(tlp, key)
        self._host_requests[key] = Outstanding(
            tlp, {self._completer_id}, memory_space=self.settings.memory_space
        )

    def design_sent(self, tlp: Tlp) -> None:
        """Judge a packet that the design transmitted.

        Raises
        ------
        ProtocolViolation
            It breaks a rule, and the monitor is ``fatal``.
        """
        self.report(self._judge(tlp))

    def finish(self) -> None:
        """Require that every request has been answered and no rule was broken.

        Raises
        ------
        ProtocolViolation
            A request is still without a complete answer, or violations have been collected.
        """
        missing = [
            Violation("no-completion", "2.3.1", "request without a complete answer", request)
            for request in self.outstanding
        ]
        self.violations += missing
        if self.violations:
            raise ProtocolViolation(self.violations, self.now() if self.now else None)

    def report(self, violations: Iterable[Violation]) -> None:
        """Collect ``violations`` and raise if there are any and the monitor is ``fatal``."""
        found = list(violations)
        self.violations += found
        for violation in found:
            self.on_violation(violation)
        if found and self.fatal:
            raise ProtocolViolation(found, self.now() if self.now else None)

    def _judge(self, tlp: Tlp) -> Iterator[Violation]:
        broken = list(header_rules(tlp))
        yield from broken
        if any(item.rule == "type" for item in broken):
            return
        if tlp.is_completion:
            self.completions += 1
            yield from self._judge_completion(tlp)
        else:
            self.requests += 1
            yield from self._judge_request(tlp)

    def _judge_completion(self, tlp: Tlp) -> Iterator[Violation]:
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

    def _judge_request(self, tlp: Tlp) -> Iterator[Violation]:
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
            if self._own_reads.in_use(tlp.tag):
                yield Violation("tag", "2.2.6.2", f"tag {tlp.tag:#x} is in use", tlp)
            self._own_reads.sent(tlp)

    def _config_write(self, tlp: Tlp, key: tuple[int, int]) -> None:
        if self._learns_id:
            self.device_id = self._completer_id = tlp.completer_id & ~7
            for pending in self._host_requests.values():
                pending.completer_ids.add(self._completer_id)
        self.settings.written(tlp, key)

    def set_max_payload_size(self, size: int) -> None:
        """Put a size in force at once, where neither configuration writes nor pins tell it."""
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
        """A monitor on the ports of ``dut``, watching also that the streams keep their protocol.

        Parameters
        ----------
        dut
            The design's top.
        to_design, from_design
            Prefixes of the TLP bundles to watch, for one :data:`CORE_TO_DESIGN` and
            :func:`bundles_of`.
        clk, reset
            Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``. A reset calls
            :meth:`reset`.
        follow_pins
            Whether to take settings from configuration pins (:mod:`testbench.tlp.pins`).
        **options
            Arguments of the constructor.
        """
        # Imported here: judging recorded packets needs no cocotb.
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
        line = getattr(dut, "rst", None) if reset is None else reset
        if follow_pins:
            pins = PinFollower(
                dut, monitor.settings, clk=dut.clk if clk is None else clk, reset=line
            )
            monitor._after_reset = pins.apply
        if line is not None:
            cocotb.start_soon(monitor._follow_reset(line))
        return monitor

    async def _follow_reset(self, line: Any) -> None:
        while True:
            await line.rising_edge
            self.reset()
            self._after_reset()
