# SPDX-License-Identifier: BSD-2-Clause
"""A Linux guest on QEMU that drives the gateware through ``sim.vm.serve``."""
