# SPDX-License-Identifier: BSD-2-Clause
"""Wrong answers to a bus master's reads, for a host to give in place of the right ones.

A :class:`Fault` says which request, how often, and a change; the functions here make changes. ::

    host.memory.faults.append(Fault(refused(Status.CA)))
    host.memory.faults.append(Fault(poisoned(at=1), when=lambda read: read.length > 64))
    host.memory.faults.append(Fault(altered(byte_count=4096), times=None))
    host.memory.faults.append(Fault(right, after_ns=100_000))

What a requester owes in each case: PCI Express Base 4.0 sections 2.3.2 (completion handling), 2.7.2
(poisoned data), 2.8 (completion timeout).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tlp import CplStatus, Tlp, TlpKind

Change = Callable[[Tlp, list[Tlp]], list[Tlp]]
"""Takes a request and its right completions, returns those to send in their place."""


@dataclass(eq=False)
class Fault:
    """A change to the answers of some reads.

    Parameters
    ----------
    change
        Makes the answer.
    when
        Which requests; the default is any.
    times
        For how many requests; ``None`` for all of them.
    after_ns
        Simulated ns that the answer comes later than it would.

    Attributes
    ----------
    hits
        Requests that met it so far.
    """

    change: Change
    when: Callable[[Tlp], bool] | None = None
    times: int | None = 1
    after_ns: float = 0.0
    hits: int = 0

    def meets(self, request: Tlp) -> bool:
        """Whether ``request`` is to be answered this way; counts it if so."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.when is not None and not self.when(request):
            return False
        self.hits += 1
        return True


def right(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
    """The right answer: for a fault that is only late."""
    return answers


def silent(after: int = 0) -> Change:
    """Nothing more after ``after`` completions: the request runs into its completion timeout."""
    return lambda request, answers: answers[:after]


def refused(status: int = CplStatus.UR, at: int = 0) -> Change:
    """Completion ``at``, or the last one, has this status and no data, and ends the answer."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        place = _place(answers, at)
        return [*answers[:place], _empty(answers[place], status)]

    return change


def without_data(at: int = 0) -> Change:
    """Completion ``at``, or the last one, says success and brings nothing."""
    return refused(CplStatus.SC, at)


def poisoned(at: int | None = None) -> Change:
    """Completion ``at``, or the last one, is poisoned; ``None`` poisons them all."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        if at is None:
            return [answer.replace(ep=1) for answer in answers]
        return _with(answers, _place(answers, at), ep=1)

    return change


def altered(at: int = 0, **fields: Any) -> Change:
    """Completion ``at``, or the last one, has other ``fields``.

    A value is the field's, or a function that makes it from the right completion.
    """
    return lambda request, answers: _with(answers, _place(answers, at), **fields)


def too_much(dwords: int = 1) -> Change:
    """The last completion brings ``dwords`` more than the request asked for."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        last = answers[-1]
        payload = last.payload + bytes(4 * dwords)
        return _with(answers, len(answers) - 1, length=last.length + dwords, payload=payload)

    return change


def too_little(dwords: int = 1) -> Change:
    """The last completion lacks ``dwords``, and what it leaves open never comes."""

    def change(request: Tlp, answers: list[Tlp]) -> list[Tlp]:
        last = answers[-1]
        length = max(last.length - dwords, 1)
        payload = last.payload[: 4 * length]
        return _with(answers, len(answers) - 1, length=length, payload=payload)

    return change


def repeated(at: int = -1) -> Change:
    """After the whole answer comes completion ``at`` once more: nobody waits for it."""
    return lambda request, answers: [*answers, answers[_place(answers, at)]]


def preceded(**fields: Any) -> Change:
    """Before the answer comes its first completion with other ``fields``: nobody waits for it.

    ``preceded(tag=0x1F)`` for a tag that is not in use, ``preceded(requester_id=0)`` for another
    requester. Values as in :func:`altered`.
    """
    return lambda request, answers: [_with(answers[:1], 0, **fields)[0], *answers]


def _place(answers: list[Tlp], at: int) -> int:
    # How often an answer is split is not always for a test to say.
    return min(at, len(answers) - 1) if at >= 0 else max(at + len(answers), 0)


def _empty(answer: Tlp, status: int) -> Tlp:
    kind = TlpKind.CPLLK if answer.kind in (TlpKind.CPLLK, TlpKind.CPLDLK) else TlpKind.CPL
    return answer.replace(kind=kind, status=status, length=0, payload=b"")


def _with(answers: list[Tlp], place: int, **fields: Any) -> list[Tlp]:
    answer = answers[place]
    values = {name: value(answer) if callable(value) else value for name, value in fields.items()}
    return [*answers[:place], answer.replace(**values), *answers[place + 1 :]]
