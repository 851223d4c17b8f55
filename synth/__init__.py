# SPDX-License-Identifier: BSD-2-Clause
"""Area and frequency of the gateware, with an open toolchain from PyPI."""
