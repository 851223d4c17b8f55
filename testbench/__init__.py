# SPDX-License-Identifier: BSD-2-Clause
"""Testbench for endpoints on the generic TLP interface, built on cocotb.

No module looks inside the design: all use its ports and the specifications only.
"""
