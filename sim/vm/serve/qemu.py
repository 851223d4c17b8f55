# SPDX-License-Identifier: BSD-2-Clause
"""QEMU options that attach the served endpoint to a machine's bus."""

from __future__ import annotations

import json
from pathlib import Path

OLDEST = (10, 1)
"""The first version with a vfio-user client."""
DEVICE = "vfio-user-pci"
"""QEMU's name of the client."""
MESSAGE_TIMEOUT_MS = 60_000
"""Time that QEMU waits for a reply. After a late reply it does not accept any other."""


def memory_arguments(size_mb: int) -> list[str]:
    """Options for ``size_mb`` times 2**20 bytes of guest memory, in a file that the server maps."""
    size = f"{size_mb}M"
    return [
        *("-m", size),
        *("-object", f"memory-backend-memfd,id=memory,size={size},share=on"),
        *("-machine", "memory-backend=memory"),
    ]


def device_argument(path: Path) -> str:
    """Argument of ``-device`` for a server at ``path``."""
    device = {
        "driver": DEVICE,
        "socket": {"type": "unix", "path": str(path)},
        "x-msg-timeout": MESSAGE_TIMEOUT_MS,
    }
    return json.dumps(device, separators=(",", ":"))
