# SPDX-License-Identifier: BSD-2-Clause
"""The guest's kernel log: its warnings, oopses and hung tasks are findings."""

from __future__ import annotations

import codecs
import re
import threading
from collections import deque
from dataclasses import dataclass, field

PATTERNS = {
    "panic": r"Kernel panic",
    "oops": r"Oops: |BUG: (?:unable|kernel)|kernel BUG at|general protection fault|"
    r"invalid opcode|double fault",
    "hung task": r"INFO: task .* blocked for more than",
    "stall": r"self-detected stall|detected stalls|soft lockup|hard LOCKUP|"
    r"workqueue lockup|NETDEV WATCHDOG",
    "warning": r"WARNING: |UBSAN: |refcount_t: |possible circular locking|sleeping function|"
    r"scheduling while atomic|BUG: |list_(?:add|del) corruption|irq \d+: .*cared",
    "I/O error": r"(?:Buffer )?I/O error|EXT4-fs error|JBD2: .*[Ee]rror",
}
KINDS = {kind: re.compile(pattern) for kind, pattern in PATTERNS.items()}
"""Kinds of findings, the most serious first."""
BEFORE, AFTER = 12, 30
"""Lines of the log around a finding."""
MOST_LINES = 4000
"""Lines of the log that are kept, the latest."""
MOST_FINDINGS = 20
"""Findings that are kept, the first."""


@dataclass
class LogFinding:
    """A finding in the log.

    Attributes
    ----------
    kind
        One of :data:`KINDS`.
    line
        The line that is the finding.
    lines
        The lines around it.
    """

    kind: str
    line: str
    lines: list[str] = field(default_factory=list)


def classify(line: str) -> str | None:
    """The kind of finding that a line is; ``None`` for any other line."""
    return next((kind for kind, pattern in KINDS.items() if pattern.search(line)), None)


class KernelLog:
    """Follows the console's output; :meth:`feed` takes it, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest = ""
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._findings: list[LogFinding] = []
        self._following = 0

    def feed(self, data: bytes) -> None:
        """Process a piece of output."""
        with self._lock:
            *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
            self._rest = self._rest[-MOST_LINES:]
            for line in lines:
                self._add(line.rstrip("\r"))

    def last(self, count: int) -> list[str]:
        """The latest lines."""
        with self._lock:
            return list(self._lines)[-count:]

    def take(self) -> list[LogFinding]:
        """The findings since the last call."""
        with self._lock:
            found, self._findings = self._findings, []
            self._following = 0
            return found

    def _add(self, line: str) -> None:
        if self._following:
            # An oops has several such lines: all belong to the first.
            self._following -= 1
            finding = self._findings[-1]
            finding.lines.append(line)
            kind = classify(line)
            order = list(KINDS)
            if kind is not None and order.index(kind) < order.index(finding.kind):
                finding.kind, finding.line = kind, line
        elif len(self._findings) < MOST_FINDINGS and (kind := classify(line)) is not None:
            before = list(self._lines)[-BEFORE:]
            self._findings.append(LogFinding(kind, line, [*before, line]))
            self._following = AFTER
        self._lines.append(line)
