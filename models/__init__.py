# SPDX-License-Identifier: BSD-2-Clause
"""Python reference of virtio-msg over the AMP PCI endpoint, independent of any simulator."""

__version__ = "0.2.0"
"""Version of the whole project; pyproject.toml reads it. A tag of a release is ``v`` and this."""
