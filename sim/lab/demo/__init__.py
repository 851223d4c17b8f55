# SPDX-License-Identifier: BSD-2-Clause
"""The demo: a driver finds devices behind the gateware, brings them up and uses them."""
