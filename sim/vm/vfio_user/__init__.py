# SPDX-License-Identifier: BSD-2-Clause
"""The vfio-user protocol: server for a :class:`~sim.vm.bridge.function.PciFunction`, and client.

Source: the protocol's specification, docs/interop/vfio-user.rst of QEMU.
"""
