# SPDX-License-Identifier: BSD-2-Clause
"""The demo: a driver finds devices behind the gateware and brings them up, told as a story."""
