# SPDX-License-Identifier: BSD-2-Clause
"""The simulated endpoint as a PCI function for others: what any socket protocol needs of it."""
