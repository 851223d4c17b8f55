# SPDX-License-Identifier: BSD-2-Clause
"""The recorded figures of proofs, bench and synthesis: their document and their comparison."""
