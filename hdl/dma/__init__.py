# SPDX-License-Identifier: BSD-2-Clause
"""The bus master: an AXI4 window for the device side, whose bursts become memory requests."""
