# SPDX-License-Identifier: BSD-2-Clause
"""Lengths of the battery: the amount of work of each test, and its time limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Length:
    """Amounts of work.

    Attributes
    ----------
    name
        Name of the length.
    disk_sectors
        Size of the disk, unless the user gives one.
    entropy_bytes
        Bytes read from the entropy device.
    odd_sectors
        Sectors of the requests at odd places.
    large_sectors
        Sectors of one large transfer.
    writers, writer_sectors
        Number of parallel writers, and the sectors that each writes.
    files, file_bytes
        Files written to the file system, and bytes of each; the last ones may not fit.
    ping_count, ping_sizes
        Pings of each size, and sizes in bytes.
    updowns
        Times that the interface is set down and up.
    console_bytes
        Bytes in each direction of the console, a multiple of 32.
    limit_s
        Time limit of a test, in seconds.
    """

    name: str
    disk_sectors: int
    entropy_bytes: int
    odd_sectors: tuple[int, ...]
    large_sectors: int
    writers: int
    writer_sectors: int
    files: int
    file_bytes: int
    ping_count: int
    ping_sizes: tuple[int, ...]
    updowns: int
    console_bytes: int
    limit_s: float


SHORT = Length(
    name="short",
    disk_sectors=4096,
    entropy_bytes=512,
    odd_sectors=(1, 3, 7, 17),
    large_sectors=256,
    writers=3,
    writer_sectors=32,
    files=4,
    file_bytes=16384,
    ping_count=2,
    ping_sizes=(0, 56, 1472),
    updowns=2,
    console_bytes=256,
    limit_s=150.0,
)
LONG = Length(
    name="long",
    disk_sectors=65536,
    entropy_bytes=65536,
    odd_sectors=(1, 3, 5, 7, 9, 15, 17, 31, 63, 127, 255),
    large_sectors=8192,
    writers=8,
    writer_sectors=1024,
    # More than fit: the file system is filled.
    files=1000,
    file_bytes=131072,
    ping_count=20,
    ping_sizes=(0, 1, 56, 64, 255, 256, 1000, 1471, 1472),
    updowns=20,
    console_bytes=8192,
    limit_s=1800.0,
)
BOOT_S = 180.0
"""Time limit of a boot, from power on to the agent."""
DEVICES_S = 120
"""Time limit for the driver to find its devices; public drivers wait for up to 100 s."""
EVENT_S = 30
"""Time limit for the effect of an event."""
SOAK_S = 3600
"""Default duration of a soak."""
HUNG_TASK_S = 60
"""Time after which Linux reports a task that waits uninterruptibly."""
