# SPDX-License-Identifier: BSD-2-Clause
"""Builds the gateware for a simulator and runs cocotb on it."""
