# SPDX-License-Identifier: BSD-2-Clause
"""Models of vendor hard blocks between the root complex and a design."""
