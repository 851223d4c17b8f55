# SPDX-License-Identifier: BSD-2-Clause
"""The core behind PCIe hard blocks, with the ports that each of them has."""
