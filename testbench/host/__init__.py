# SPDX-License-Identifier: BSD-2-Clause
"""Hosts: thin functional models and cocotbext-pcie's root complex, with their memory."""
