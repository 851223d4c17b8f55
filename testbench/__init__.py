# SPDX-License-Identifier: BSD-2-Clause
"""Testbench for endpoints that speak the generic TLP interface, on cocotb.

Nothing here looks inside the design: every module knows ports, packets and specifications only.
"""
