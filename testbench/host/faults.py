# SPDX-License-Identifier: BSD-2-Clause
"""Faulty completions of a bus master's reads, which a host sends in place of the correct ones.

A :class:`Fault` selects requests and applies a change; the functions of this module make changes::

    host.memory.faults.append(Fault(refused(Status.CA)))
    host.memory.faults.append(Fault(poisoned(at=1), when=lambda read: read.length > 64))
    host.memory.faults.append(Fault(altered(byte_count=4096), times=None))
    host.memory.faults.append(Fault(right, after_ns=100_000))

Rules for requesters: PCI Express Base 4.0 sections 2.3.2 (completion handling), 2.7.2 (poisoned
data), 2.8 (completion timeout).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tlp import CplStatus, Tlp, TlpKind

Change = Callable[[Tlp, list[Tlp]], list[Tlp]]
"""Takes a request and its correct completions; returns the completions to send instead."""


@dataclass(eq=False)
class Fault:
    """A change to the completions of some reads.

    Parameters
    ----------
    change
        Makes the completions.
    when
        Selects requests; ``None`` selects all.
    times
        Number of requests to apply it to; ``None`` for no limit.
    after_ns
        Additional delay of the completions in simulated ns.
    matches
        Requests that it was applied to so far.
    """

    change: Change
    when: Callable[[Tlp], bool] | None = None
    times: int | None = 1
    after_ns: float = 0.0
    matches: int = 0

    def applies_to(self, request: Tlp) -> bool:
        """Whether the fault applies to ``request``; if so, count the request."""
        if self.times is not None and self.matches >= self.times:
            return False
        if self.when is not None and not self.when(request):
            return False
        self.matches += 1
        return True


def unchanged(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
    """No change, for a fault that only delays the completions."""
    return answers


def no_completions(after: int = 0) -> Change:
    """Drop all completions after the first ``after``: the request times out."""
    return lambda request, answers: answers[:after]


def refused(status: int = CplStatus.UR, at: int = 0) -> Change:
    """End with completion ``at``, or the last one, with this status and no data."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        index = _index(answers, at)
        return [*answers[:index], _error_completion(answers[index], status)]

    return change


def without_data(at: int = 0) -> Change:
    """End with completion ``at``, or the last one, successful but without data."""
    return refused(CplStatus.SC, at)


def poisoned(at: int | None = None) -> Change:
    """Poison completion ``at``, or the last one; ``None`` poisons all."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        if at is None:
            return [answer.replace(ep=1) for answer in answers]
        return _replace(answers, _index(answers, at), ep=1)

    return change


def altered(at: int = 0, **fields: Any) -> Change:
    """Replace ``fields`` of completion ``at``, or the last one.

    A value is the field's new value, or a function from the correct completion to it.
    """
    return lambda request, answers: _replace(answers, _index(answers, at), **fields)


def too_much(dwords: int = 1) -> Change:
    """Extend the last completion by ``dwords`` beyond the end of the request."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        last = answers[-1]
        payload = last.payload + bytes(4 * dwords)
        return _replace(answers, len(answers) - 1, length=last.length + dwords, payload=payload)

    return change


def too_little(dwords: int = 1) -> Change:
    """Cut ``dwords`` off the last completion; the remaining data never arrives."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        last = answers[-1]
        length = max(last.length - dwords, 1)
        payload = last.payload[: 4 * length]
        return _replace(answers, len(answers) - 1, length=length, payload=payload)

    return change


def repeated(at: int = -1) -> Change:
    """Send completion ``at`` again after the last one, as an unexpected completion."""
    return lambda request, answers: [*answers, answers[_index(answers, at)]]


def preceded(**fields: Any) -> Change:
    """Send the first completion with other ``fields`` before it, as an unexpected completion.

    For example ``preceded(tag=0x1F)`` for an unused tag, ``preceded(requester_id=0)`` for another
    requester. Values are as in :func:`altered`.
    """
    return lambda request, answers: [_replace(answers[:1], 0, **fields)[0], *answers]


def _index(answers: list[Tlp], at: int) -> int:
    # Clamp the index: a test does not always control the number of completions.
    return min(at, len(answers) - 1) if at >= 0 else max(at + len(answers), 0)


def _error_completion(answer: Tlp, status: int) -> Tlp:
    kind = TlpKind.CPLLK if answer.kind in (TlpKind.CPLLK, TlpKind.CPLDLK) else TlpKind.CPL
    return answer.replace(kind=kind, status=status, length=0, payload=b"")


def _replace(answers: list[Tlp], index: int, **fields: Any) -> list[Tlp]:
    answer = answers[index]
    values = {name: value(answer) if callable(value) else value for name, value in fields.items()}
    return [*answers[:index], answer.replace(**values), *answers[index + 1 :]]
