# SPDX-License-Identifier: BSD-2-Clause
"""Experiments on the gateware: demo, bench, fuzzer, Amaranth's own simulator."""
