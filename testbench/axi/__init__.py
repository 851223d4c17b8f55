# SPDX-License-Identifier: BSD-2-Clause
"""The AXI4 DMA window: its channels, and DMA through it."""
