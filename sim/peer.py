# SPDX-License-Identifier: BSD-2-Clause
"""Addresses on the network behind the network devices of demo and server: guest and peer."""

from __future__ import annotations

OWN_IP, PEER_IP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
PEER_MAC = bytes.fromhex("020000000099")
