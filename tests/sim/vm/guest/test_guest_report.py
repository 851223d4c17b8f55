# SPDX-License-Identifier: BSD-2-Clause
"""The report of a good run, and the problems that it lists."""

from __future__ import annotations

import json

import pytest
from guest_runs import good_events, good_record, guest_report

from sim.vm.guest.report import make_report

KEYS = {
    *("ok", "kernel", "enumerated", "messages_to_device", "messages_to_driver", "interrupts"),
    *("rng_bytes", "blk_ok", "console_ok", "ping_ok", "mmio_reads_per_s", "mmio_writes_per_s"),
}


def test_report_of_good_run():
    report = make_report(guest_report(good_events()), good_record())
    assert report["ok"] is True and report["problems"] == []
    assert report.keys() >= KEYS
    assert report["rng_bytes"] == 4096 and report["kernel"] == "6.1"
    assert (report["blk_ok"], report["console_ok"], report["ping_ok"]) == (True, True, True)
    assert (report["interrupts"], report["msix_writes"]) == (128, 129)
    assert report["enumerated"]["vendor_id"] == 0x10EE
    names = [capability["name"] for capability in report["enumerated"]["capabilities"]]
    assert names == ["power management", "MSI-X", "PCI Express"]
    json.dumps(report)


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("function", {"revision": 2}, "revision is 2: must be 1"),
        ("function", {"class_code": 0}, "class_code is 0: must be"),
        ("bar", {"size": 64}, "BARs (size, prefetchable) are"),
        ("bar", {"prefetchable": True}, "BARs (size, prefetchable) are"),
        ("capability", {"offset": 0x44}, "capabilities (id: offset) are"),
        ("capability", {"vectors": 3}, "MSI-X vectors is 3: must be 2"),
        ("accesses", {"accesses": 14}, "accesses tried are 14: must be 15"),
        ("pings", {"interrupts": 15}, "FIFO 1: 16 single responses raised 15 interrupts"),
        ("pings", {"fifo": 0}, "FIFOs tried are [0]: must be all 2"),
        ("random", {"hex": "00"}, "the random bytes differ from the source's"),
        ("console", {"text": "Hello"}, "a console line was lost or changed"),
        ("peer", {"hex": "00"}, "a ping failed"),
        ("ping", {"sequence": 9}, "a ping failed"),
        ("messages", {"messages_to_device": 7}, "messages_to_device: the guest counted 7"),
        ("messages", {"messages_to_driver": 7}, "messages_to_driver: the guest counted 7"),
        ("messages", {"unclaimed": 1}, "1 messages were not expected"),
        ("messages", {"used_events": 0}, "no EVENT_USED arrived"),
        ("messages", {"interrupts": 130}, "counted 130 interrupts, the server 129 MSI-X"),
        ("messages", {"interrupts": 0}, "counted 0 interrupts"),
    ],
)
def test_wrong_fact_is_reported(kind, change, text):
    events = good_events()
    chosen = [event for event in events if event["event"] == kind]
    # Of several capabilities, the one that has the changed fact.
    chosen = [event for event in chosen if change.keys() <= event.keys()]
    chosen[0].update(change)
    report = make_report(guest_report(events), good_record())
    assert not report["ok"]
    assert any(text in problem for problem in report["problems"]), report["problems"]


@pytest.mark.parametrize("kind", ["bar", "capability", "pings", "random", "block", "ping", "peer"])
def test_missing_event_is_reported(kind):
    events = [event for event in good_events() if event["event"] != kind]
    assert not make_report(guest_report(events), good_record())["ok"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"disk": b"imagf"}, "the disk does not contain"),
        ({"disk": b"ima"}, "the disk does not contain"),
        ({"image": b""}, "the disk does not contain"),
        ({"printed": "Hello"}, "a console line was lost or changed"),
        ({"server": {}}, "the server None"),
        ({"seed": 6}, "the random bytes differ from the source's"),
        ({"problems": ["server: no"]}, "server: no"),
    ],
)
def test_difference_from_host_is_reported(change, text):
    record = good_record()
    for name, value in change.items():
        setattr(record, name, value)
    report = make_report(guest_report(good_events()), record)
    assert not report["ok"]
    assert any(text in problem for problem in report["problems"]), report["problems"]


def test_failed_guest_reports_only_cause():
    events = [*good_events()[:2], {"event": "failed", "step": "accesses", "text": "no"}]
    report = make_report(guest_report(events), good_record())
    assert report["problems"] == ["accesses: no"] and not report["ok"]
    report = make_report(guest_report([]), good_record())
    assert report["problems"] == ["the guest ended before its program did"]
