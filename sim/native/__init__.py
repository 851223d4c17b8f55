# SPDX-License-Identifier: BSD-2-Clause
"""The gateware as compiled code, without a simulator around it: see docs/native.md."""
