# SPDX-License-Identifier: BSD-2-Clause
"""The FIFOs: their memory, their index words, and the engines that pop and push messages."""
