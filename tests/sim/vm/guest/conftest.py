# SPDX-License-Identifier: BSD-2-Clause
"""Puts this folder on ``sys.path``: the tests in its subfolders import its helpers."""
