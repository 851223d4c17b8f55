# SPDX-License-Identifier: BSD-2-Clause
"""``python -m sim serve``: the simulated endpoint as a PCI device for virtual machines."""
