# SPDX-License-Identifier: BSD-2-Clause
"""The simulated endpoint as a PCI function, for any socket protocol."""
