# SPDX-License-Identifier: BSD-2-Clause
"""The endpoint for virtual machines: a PCI function that QEMU attaches."""
