# SPDX-License-Identifier: BSD-2-Clause
"""Valid/ready streams: framing, sources, sinks, watchers, AXI4-Stream and TLP bundles."""
