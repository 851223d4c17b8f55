# SPDX-License-Identifier: BSD-2-Clause
"""Hosts: thin functional models, cocotbext-pcie's root complex, and their memory."""
