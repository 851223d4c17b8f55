# SPDX-License-Identifier: BSD-2-Clause
"""The capabilities of both ends, JSON in the VERSION messages."""

from __future__ import annotations

import json
from typing import Any

from ..bridge.guest_memory import MOST_MAPPINGS
from . import wire
from .checks import RequestError

LIMITS = {
    "max_msg_fds": wire.MOST_FILES,
    "max_data_xfer_size": wire.MOST_DATA,
    "max_dma_maps": MOST_MAPPINGS,
    "write_multiple": True,
}
"""Limits of the server."""


def negotiate(data: bytes) -> dict[str, Any]:
    """The server's capabilities for a client's version data: the proposed ones, within limits.

    Raises
    ------
    RequestError
        ``data`` is not JSON, or a value is invalid.
    """
    negotiated: dict[str, Any] = {}
    proposed = _parse(data)
    for name, limit in LIMITS.items():
        value = proposed.get(name)
        if value is None:
            continue
        if isinstance(limit, bool) != isinstance(value, bool) or not isinstance(value, int):
            raise RequestError(f"{name} is {value!r}: must be {type(limit).__name__}")
        if not isinstance(limit, bool) and value < 1:
            raise RequestError(f"{name} is {value}: must be 1 or more")
        negotiated[name] = min(limit, value)
    return negotiated


def pack_capabilities(capabilities: dict[str, Any]) -> bytes:
    """``capabilities`` as version data."""
    text = json.dumps({"capabilities": capabilities}, separators=(",", ":"))
    return text.encode() + b"\0"


def _parse(data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    try:
        proposal = json.loads(data.split(b"\0")[0])
    except (ValueError, RecursionError) as error:
        raise RequestError(f"version data is not JSON: {error}") from None
    capabilities = proposal.get("capabilities", {}) if isinstance(proposal, dict) else None
    if not isinstance(capabilities, dict):
        raise RequestError("capabilities must be an object in an object")
    return capabilities
