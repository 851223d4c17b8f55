# SPDX-License-Identifier: BSD-2-Clause
"""What the proofs, the bench and the synthesis said: docs/figures.md, made and compared."""
