# SPDX-License-Identifier: BSD-2-Clause
"""The simulation commands: builds, cocotb runs, the lab and the virtual machine."""
