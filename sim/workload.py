# SPDX-License-Identifier: BSD-2-Clause
"""Data that the demo and the guest transfer, and addresses on the network behind the devices."""

from __future__ import annotations

RNG_BYTES = 4096
RNG_REQUEST = 1024
SECTORS = 64
PINGS = 3
PING_BYTES = 56
PRINTED = b"Hello from the driver.\n"
"""Line that the driver writes to the console."""
TYPED = b"Hello from the device.\n"
"""Line that the console sends to the driver."""

OWN_IP, PEER_IP = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
"""Addresses of the driver's side and of its peer."""
PEER_MAC = bytes.fromhex("020000000099")
