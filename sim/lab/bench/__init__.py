# SPDX-License-Identifier: BSD-2-Clause
"""What the gateware takes in cycles, against what its width allows, and how fast it simulates."""
