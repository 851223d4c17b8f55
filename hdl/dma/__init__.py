# SPDX-License-Identifier: BSD-2-Clause
"""Bus master: an AXI4 window whose bursts become memory requests."""
