# SPDX-License-Identifier: BSD-2-Clause
"""What a virtual machine needs: the endpoint as a PCI function that QEMU attaches."""
