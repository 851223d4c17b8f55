# SPDX-License-Identifier: BSD-2-Clause
"""Python reference of virtio-msg over the AMP PCI endpoint, independent of any simulator."""
