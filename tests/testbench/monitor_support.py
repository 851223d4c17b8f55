# SPDX-License-Identifier: BSD-2-Clause
"""Requests, correct completions, and a monitor that lists the rules that a packet violates."""

from __future__ import annotations

from typing import Any

from testbench.tlp import CplStatus, Tlp, pcie_id
from testbench.tlp.monitor import TlpMonitor
from testbench.tlp.packets import completion, memory_read, memory_write

DEVICE = pcie_id(0x2A, 0)
HOST = pcie_id(0, 3, 1)
READ = memory_read(0xC000_0123, 77, requester_id=HOST, tag=5, tc=2, attr=0b01)
LONG = memory_read(0xC000_0064, 400, requester_id=HOST, tag=5)
MSIX = memory_write(0xFEE0_0010, bytes(4), requester_id=DEVICE)


def monitor(**options: Any) -> TlpMonitor:
    """A monitor of a function with a known id that may send requests."""
    return TlpMonitor(device_id=DEVICE, bus_master=True, **options)


def with_data(request: Tlp, **fields: Any) -> Tlp:
    """The correct single completion of ``request`` with data, with ``fields`` replaced."""
    answer = completion(request, DEVICE, bytes(4 * request.length))
    return answer.replace(**fields) if fields else answer


def without_data(request: Tlp, status: int = CplStatus.UR, **fields: Any) -> Tlp:
    """The correct completion of ``request`` without data, with ``fields`` replaced."""
    return completion(request, DEVICE, status=status, **fields)


def violated(check: TlpMonitor, packet: Tlp) -> set[str]:
    """Names of the rules that ``packet`` violates."""
    before = len(check.violations)
    check.fatal = False
    check.design_sent(Tlp.unpack(packet.pack(), packet.payload))
    return {item.rule for item in check.violations[before:]}
