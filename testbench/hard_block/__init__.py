# SPDX-License-Identifier: BSD-2-Clause
"""Vendor hard blocks between the root complex and a design."""
