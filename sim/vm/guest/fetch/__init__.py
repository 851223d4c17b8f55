# SPDX-License-Identifier: BSD-2-Clause
"""Downloads a QEMU and a kernel as Debian packages, and keeps them in a store."""
