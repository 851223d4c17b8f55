# SPDX-License-Identifier: BSD-2-Clause
"""Proofs about the gateware, with an open toolchain from PyPI."""
