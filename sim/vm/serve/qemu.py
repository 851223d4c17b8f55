# SPDX-License-Identifier: BSD-2-Clause
"""What QEMU must be given to have the served endpoint on a machine's bus."""

from __future__ import annotations

import json
from pathlib import Path

OLDEST = (10, 1)
"""The first version with a vfio-user client."""
DEVICE = "vfio-user-pci"
"""What it calls the client."""
MESSAGE_TIMEOUT_MS = 60_000
"""What it is told to wait for a reply: after one that comes too late it understands no other."""


def memory_arguments(size_mb: int) -> list[str]:
    """Guest memory of so many times 2**20 bytes, in a file that the server can have, too."""
    size = f"{size_mb}M"
    return [
        *("-m", size),
        *("-object", f"memory-backend-memfd,id=memory,size={size},share=on"),
        *("-machine", "memory-backend=memory"),
    ]


def device_argument(path: Path) -> str:
    """What to give after ``-device`` for a server at ``path``."""
    device = {
        "driver": DEVICE,
        "socket": {"type": "unix", "path": str(path)},
        "x-msg-timeout": MESSAGE_TIMEOUT_MS,
    }
    return json.dumps(device, separators=(",", ":"))
