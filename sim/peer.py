# SPDX-License-Identifier: BSD-2-Clause
"""Who lives behind the network devices of demo and server, and what a guest there is called."""

from __future__ import annotations

OWN_IP, PEER_IP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
PEER_MAC = bytes.fromhex("020000000099")
