# SPDX-License-Identifier: BSD-2-Clause
"""The AMP PCI endpoint as synthesizable hardware, in Amaranth."""
