# SPDX-License-Identifier: BSD-2-Clause
"""PCI shell: IDs, BARs, BAR0 registers and MSI-X.

Source: the patch series, ``virtio_msg_amp_pci_class_init``, ``vmsg_bus_amp_pci_realize`` and the
register definitions above them. A shell does not depend on the message dialect; of the shared RAM
it uses only the size, from a :class:`~models.layout.SharedLayout`.
"""

from __future__ import annotations

from dataclasses import dataclass

from .layout import SharedLayout

MAX_FIFOS = 8
MSIX_ENTRY_SIZE = 16
"""Bytes in an MSI-X table entry: address, upper address, data, vector control."""
MSIX_CONTROL_OFFSET = 12
"""Byte offset of vector control in an entry. Bit 0 masks the vector; the others are reserved."""


class ShellError(ValueError):
    """Invalid shell or number of FIFOs; the text names the limit."""


def check_num_fifos(num_fifos: int) -> int:
    """Return ``num_fifos`` if it is an integer from 1 to 8, else raise :class:`ShellError`."""
    if not isinstance(num_fifos, int) or not 1 <= num_fifos <= MAX_FIFOS:
        raise ShellError(f"num_fifos is {num_fifos!r}: must be an integer from 1 to {MAX_FIFOS}")
    return num_fifos


@dataclass(frozen=True, kw_only=True)
class PciShell:
    """Endpoint as PCI software sees it.

    Parameters
    ----------
    name
        Name of the shell in messages and reports.
    vendor_id, device_id, subsystem_vendor_id, subsystem_id, revision
        Identification in the type 0 header.
    class_code
        24 bits: base class, subclass, programming interface.
    register_bar, fifo_bar, msix_bar
        BAR numbers. All are 32-bit memory; the FIFO BAR is prefetchable.
    register_bar_size, msix_bar_size
        Sizes in bytes, powers of two. The layout defines the size of the FIFO BAR.
    version, features
        Values of the two read-only registers.
    version_offset, features_offset
        Byte offsets of the two read-only registers in the register BAR.
    notify_offset, notify_stride
        NOTIFYn is at byte ``notify_offset + n * notify_stride`` of the register BAR.
    msix_table_offset, msix_pba_offset
        Byte offsets in the MSI-X BAR.
    vectors
        Number of MSI-X vectors; ``None`` means one per FIFO.
    """

    name: str
    vendor_id: int = 0x10EE
    device_id: int = 0x9039
    subsystem_vendor_id: int = 0x10EE
    subsystem_id: int = 0x9039
    revision: int = 1
    class_code: int = 0x088000
    register_bar: int = 0
    fifo_bar: int = 1
    msix_bar: int = 2
    register_bar_size: int = 0x4000
    msix_bar_size: int = 0x1000
    version: int = 0x0001
    features: int = 0
    version_offset: int = 0x00
    features_offset: int = 0x04
    notify_offset: int = 0x20
    notify_stride: int = 4
    msix_table_offset: int = 0x000
    msix_pba_offset: int = 0x800
    vectors: int | None = None

    def __post_init__(self) -> None:
        if self.vectors is not None and not 1 <= self.vectors <= 64:
            raise ShellError(f"vectors is {self.vectors}: must be 1 to 64")
        if len({self.register_bar, self.fifo_bar, self.msix_bar}) != 3:
            raise ShellError("register_bar, fifo_bar and msix_bar must be three different BARs")
        if not all(0 <= bar < 6 for bar in (self.register_bar, self.fifo_bar, self.msix_bar)):
            raise ShellError("a BAR number must be 0 to 5")

    def num_vectors(self, num_fifos: int) -> int:
        """Number of MSI-X vectors of an endpoint with ``num_fifos`` FIFOs."""
        return check_num_fifos(num_fifos) if self.vectors is None else self.vectors

    def vector_of(self, fifo: int, num_fifos: int) -> int:
        """Vector of FIFO ``fifo``. FIFOs share vectors if there are fewer vectors than FIFOs."""
        return fifo % self.num_vectors(num_fifos)

    def notify(self, fifo: int) -> int:
        """Byte offset of FIFO ``fifo``'s doorbell in the register BAR."""
        return self.notify_offset + fifo * self.notify_stride

    def msix_entry(self, vector: int) -> int:
        """Byte offset of vector ``vector``'s table entry in the MSI-X BAR."""
        return self.msix_table_offset + vector * MSIX_ENTRY_SIZE

    def msix_control(self, vector: int) -> int:
        """Byte offset of vector ``vector``'s vector control in the MSI-X BAR."""
        return self.msix_entry(vector) + MSIX_CONTROL_OFFSET

    def bar_sizes(self, num_fifos: int, layout: SharedLayout) -> dict[int, int]:
        """Size in bytes of each implemented BAR, by BAR number."""
        return {
            self.register_bar: self.register_bar_size,
            self.fifo_bar: layout.size(check_num_fifos(num_fifos)),
            self.msix_bar: self.msix_bar_size,
        }


AMP_PCI = PciShell(name="amp-pci")
"""AMP PCI endpoint of the patch series, 10ee:9039."""

AMP_PCI_9038 = PciShell(name="amp-pci-9038", device_id=0x9038, subsystem_id=0x9038, vectors=2)
"""ID before the patch series. FIFO n uses vector n modulo 2."""

SHELLS = {shell.name: shell for shell in (AMP_PCI, AMP_PCI_9038)}
"""Declared shells, by name."""


def shell_of(name: str) -> PciShell:
    """Look up a shell by name. Raises :class:`ShellError` if it does not exist."""
    if name not in SHELLS:
        raise ShellError(f"shell is {name!r}: must be {' or '.join(SHELLS)}")
    return SHELLS[name]
