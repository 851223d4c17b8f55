# SPDX-License-Identifier: BSD-2-Clause
"""A kit for driver writers: builds a directory of modules, boots them, runs a battery of tests."""
