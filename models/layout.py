# SPDX-License-Identifier: BSD-2-Clause
"""Layout of the memory that driver and device share (the RAM behind the FIFO BAR).

A :class:`SharedLayout` places the two queues of each FIFO; a :class:`QueueLayout` places the parts
of a queue. Source: the patch series, functions ``spsc_init``, ``spsc_capacity`` and
``vmsg_bus_amp_pci_map_fifo``. Neither depends on the message dialect or the PCI shell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PAGE = 4096
"""Bytes of a page: in the shared RAM, in host memory, and the boundary that no request crosses."""
MIN_MESSAGE = 8
"""Bytes of the shortest message, which is the header in every dialect."""


class LayoutError(ValueError):
    """Invalid layout; the text names the field and the limit."""


@dataclass(frozen=True, kw_only=True)
class QueueLayout:
    """Layout of one SPSC queue, with offsets in bytes from the start of the queue.

    Parameters
    ----------
    head_offset
        Offset of head, a 32-bit little-endian word that the producer owns.
    tail_offset
        Offset of tail, a 32-bit little-endian word that the consumer owns.
    slots_offset
        Offset of the first slot.
    slot_size
        Bytes in a slot; a power of two.
    capacity
        Number of slots. One slot always stays empty, so ``capacity - 1`` messages fit.

    Raises
    ------
    LayoutError
        An offset is not a multiple of 64 bytes, or the capacity is below 2.
    """

    head_offset: int = 0
    tail_offset: int = 64
    slots_offset: int = 128
    slot_size: int = 64
    capacity: int = 62

    def __post_init__(self) -> None:
        for name in ("head_offset", "tail_offset", "slots_offset"):
            if getattr(self, name) % 64:
                raise LayoutError(f"{name} is {getattr(self, name)}: must be a multiple of 64")
        if self.slot_size < 8 or self.slot_size & (self.slot_size - 1):
            raise LayoutError(f"slot_size is {self.slot_size}: must be a power of two, 8 or more")
        if self.capacity < 2:
            raise LayoutError(f"capacity is {self.capacity}: must be 2 or more")

    @property
    def size(self) -> int:
        """Size of the queue in bytes."""
        return self.slots_offset + self.capacity * self.slot_size

    def slot_offset(self, index: int) -> int:
        """Byte offset of slot ``index`` from the start of the queue."""
        if not 0 <= index < self.capacity:
            raise LayoutError(f"slot index is {index}: must be 0 to {self.capacity - 1}")
        return self.slots_offset + index * self.slot_size

    def next(self, index: int) -> int:
        """Index after ``index``, modulo the capacity."""
        return 0 if index + 1 >= self.capacity else index + 1


@dataclass(frozen=True, kw_only=True)
class SharedLayout:
    """Layout of the queues of all FIFOs in the FIFO BAR, with offsets in bytes.

    Parameters
    ----------
    name
        Name of the layout in messages and reports.
    fifo_stride
        Distance between the windows of two FIFOs; a power of two.
    driver_queue
        Offset within a window of the queue that the driver fills. Page aligned: the two queues
        never share a page.
    device_queue
        Offset within a window of the queue that the device fills. Page aligned.
    queue
        Layout of each queue.
    reserved_reads_zero
        Pages without a queue have no RAM: they read zero and ignore writes. Otherwise the whole BAR
        is RAM.

    Raises
    ------
    LayoutError
        A queue leaves its window, overlaps the other, or is not page aligned.
    """

    name: str
    fifo_stride: int = 4 * PAGE
    driver_queue: int = 1 * PAGE
    device_queue: int = 2 * PAGE
    queue: QueueLayout = field(default_factory=QueueLayout)
    reserved_reads_zero: bool = False

    def __post_init__(self) -> None:
        if self.fifo_stride < 2 * PAGE or self.fifo_stride & (self.fifo_stride - 1):
            raise LayoutError(f"fifo_stride is {self.fifo_stride}: must be a power of two, 8192 up")
        if self.queue.size > PAGE:
            raise LayoutError(f"queue takes {self.queue.size} bytes: must fit a page of {PAGE}")
        for name in ("driver_queue", "device_queue"):
            offset = getattr(self, name)
            if offset % PAGE or not 0 <= offset <= self.fifo_stride - PAGE:
                raise LayoutError(
                    f"{name} is {offset:#x}: must be a multiple of {PAGE:#x} "
                    f"up to {self.fifo_stride - PAGE:#x}"
                )
        if self.driver_queue == self.device_queue:
            raise LayoutError("driver_queue and device_queue are the same page")

    def size(self, num_fifos: int) -> int:
        """Size of the FIFO BAR for ``num_fifos`` FIFOs, in bytes, rounded to a power of two."""
        return 1 << (num_fifos * self.fifo_stride - 1).bit_length()

    def driver_queue_base(self, fifo: int) -> int:
        """Byte offset of FIFO ``fifo``'s driver queue from the start of the BAR."""
        return fifo * self.fifo_stride + self.driver_queue

    def device_queue_base(self, fifo: int) -> int:
        """Byte offset of FIFO ``fifo``'s device queue from the start of the BAR."""
        return fifo * self.fifo_stride + self.device_queue

    def is_ram(self, offset: int, num_fifos: int) -> bool:
        """Whether the byte at ``offset`` of the BAR is RAM.

        A byte of the BAR that is not RAM is in a reserved page: it reads zero and ignores writes.
        """
        if not self.reserved_reads_zero:
            return 0 <= offset < self.size(num_fifos)
        fifo, within = divmod(offset, self.fifo_stride)
        page = within - within % PAGE
        return 0 <= fifo < num_fifos and page in (self.driver_queue, self.device_queue)

    def ram_pages(self, num_fifos: int) -> list[int]:
        """Byte offsets of the pages of the BAR that are RAM, in ascending order."""
        pages = range(0, self.size(num_fifos), PAGE)
        return [page for page in pages if self.is_ram(page, num_fifos)]


SPSC_PAGES = SharedLayout(name="spsc-pages")
"""Layout of the patch series: 16 KiB per FIFO, one page per queue, 62 slots of 64 bytes."""

SMALL_PAGES = SharedLayout(
    name="small-pages",
    fifo_stride=2 * PAGE,
    driver_queue=0,
    device_queue=PAGE,
    queue=QueueLayout(capacity=5),
)
"""Two pages per FIFO, as before the patch series (10ee:9038), and queues of 448 bytes.

Such a queue fits the 496 bytes of SRAM of one hardware user."""

LIVE_PAGES = SharedLayout(name="live-pages", reserved_reads_zero=True)
"""The offsets of ``spsc-pages`` with half the RAM: only the pages of the queues.

The patch series neither reads nor writes the other pages."""

LAYOUTS = {layout.name: layout for layout in (SPSC_PAGES, SMALL_PAGES, LIVE_PAGES)}
"""Declared layouts, by name."""


def layout_of(name: str) -> SharedLayout:
    """Look up a layout by name. Raises :class:`LayoutError` if it does not exist."""
    if name not in LAYOUTS:
        raise LayoutError(f"layout is {name!r}: must be {' or '.join(LAYOUTS)}")
    return LAYOUTS[name]
