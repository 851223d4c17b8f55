# SPDX-License-Identifier: BSD-2-Clause
"""The gateware's cycle counts, against the bounds of its width, and the speed of simulation."""
