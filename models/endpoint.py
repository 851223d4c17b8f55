# SPDX-License-Identifier: BSD-2-Clause
"""Golden model of the endpoint at transaction level, with which the gateware is compared.

The model accepts configuration and BAR accesses on one side and messages on the other, and
completes each in no time. The index words are in the shared RAM. The only other state of the queues
is the doorbell head of each FIFO: head at the last doorbell, up to which messages are popped.
Source: docs of the design, and ``virtio-msg-amp-pci.c`` of the patch series for the registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .config_model import ConfigSpaceModel
from .config_space import config_space
from .layout import MIN_MESSAGE, SPSC_PAGES, SharedLayout
from .msix import MsixVectors
from .shell import AMP_PCI, PciShell, check_num_fifos
from .spsc import INDEX_SIZE


class EndpointAccessError(ValueError):
    """Access outside a BAR or to a FIFO that does not exist; the text names the limit."""


class Endpoint:
    """PCI function with its FIFOs.

    Parameters
    ----------
    num_fifos
        Number of FIFOs, 1 to 8.
    shell
        PCI shell of the function.
    layout
        Layout of the shared RAM.

    Raises
    ------
    ShellError
        ``num_fifos`` is out of range.

    Attributes
    ----------
    config
        Configuration space.
    msix
        MSI-X table and pending bits.
    ram
        Contents of the FIFO BAR; zero in reserved pages without RAM.
    doorbell_heads
        Doorbell head of each FIFO: head of its driver queue at the last doorbell.
    dropped_messages
        Number of messages from the device side with a size other than 8 bytes to a slot.
    doorbell_observers
        Called with the FIFO at each doorbell.
    host_reset_observers
        Called when the host resets the function.
    host_write_observers
        Called after each host write to a BAR.
    """

    def __init__(
        self,
        num_fifos: int = 1,
        shell: PciShell = AMP_PCI,
        layout: SharedLayout = SPSC_PAGES,
    ) -> None:
        self.num_fifos = check_num_fifos(num_fifos)
        self.shell = shell
        self.layout = layout
        self.bar_sizes = shell.bar_sizes(num_fifos, layout)
        self.config = ConfigSpaceModel(config_space(shell, num_fifos, layout))
        self.msix = MsixVectors(shell.num_vectors(num_fifos), lambda: self.config.msix_allowed)
        self.ram = bytearray(self.bar_sizes[shell.fifo_bar])
        self.doorbell_heads = [0] * num_fifos
        self.dropped_messages = 0
        self.doorbell_observers: list[Callable[[int], None]] = []
        self.host_reset_observers: list[Callable[[], None]] = []
        self.host_write_observers: list[Callable[[], None]] = []
        self._last_served = num_fifos - 1

    # Configuration

    def config_read(self, offset: int) -> int:
        """Read the dword of configuration space at byte ``offset``.

        Raises
        ------
        ConfigAccessError
            No configuration request can have this offset.
        """
        return self.config.read(offset)

    def config_write(self, offset: int, value: int, byte_enables: int = 0xF) -> None:
        """Write a dword of configuration space; bit n of ``byte_enables`` selects byte n.

        Raises
        ------
        ConfigAccessError
            No configuration request can have this offset, value or byte enables.
        """
        if self.config.write(offset, value, byte_enables):
            self.function_reset()
        self.msix.flush()

    def function_reset(self) -> None:
        """Function-level reset: empty the queues and mask the vectors. Other RAM is kept."""
        self._reset(function_level=True)

    def hot_reset(self) -> None:
        """Hot reset or ``rst``: function-level reset, and reset all of configuration space."""
        self._reset(function_level=False)

    def _reset(self, *, function_level: bool) -> None:
        self.config.reset(function_level=function_level)
        self.msix.reset()
        queue = self.layout.queue
        for fifo in range(self.num_fifos):
            self.doorbell_heads[fifo] = 0
            for base in (
                self.layout.driver_queue_base(fifo),
                self.layout.device_queue_base(fifo),
            ):
                self._store_index(base + queue.head_offset, 0)
                self._store_index(base + queue.tail_offset, 0)
        self._last_served = self.num_fifos - 1
        for observer in self.host_reset_observers:
            observer()

    # BARs

    def bar_read(self, bar: int, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at byte ``offset`` of BAR ``bar``, at any alignment.

        Raises
        ------
        EndpointAccessError
            The bytes are not all in a BAR.
        """
        self._check_access(bar, offset, size)
        if bar == self.shell.fifo_bar:
            return bytes(self.ram[offset : offset + size])
        contents = self._msix_bytes() if bar == self.shell.msix_bar else self._register_bytes()
        # Undeclared bytes read zero.
        return bytes(contents.get(at, 0) for at in range(offset, offset + size))

    def bar_write(
        self,
        bar: int,
        offset: int,
        data: bytes,
        byte_enables: Sequence[bool] | None = None,
    ) -> None:
        """Write the enabled bytes of ``data`` as one request.

        Parameters
        ----------
        bar
            Number of the BAR.
        offset
            Byte offset in the BAR, at any alignment.
        data
            Bytes to write.
        byte_enables
            One flag per byte; all bytes are enabled by default.

        Raises
        ------
        EndpointAccessError
            The bytes are not all in a BAR, or the numbers of enables and bytes differ.
        """
        self._check_access(bar, offset, len(data))
        enables = [True] * len(data) if byte_enables is None else list(byte_enables)
        if len(enables) != len(data):
            raise EndpointAccessError(
                f"byte_enables has {len(enables)}: must be {len(data)}, as data has"
            )
        if bar == self.shell.fifo_bar:
            for at, value, enabled in zip(
                range(offset, offset + len(data)), data, enables, strict=True
            ):
                if enabled and self.layout.is_ram(at, self.num_fifos):
                    self.ram[at] = value
            self._track_tail(offset, enables)
        elif bar == self.shell.msix_bar:
            self.msix.write_table(offset - self.shell.msix_table_offset, data, enables)
        else:
            self._ring_doorbells(offset, enables)
        for observer in self.host_write_observers:
            observer()

    def _check_access(self, bar: int, offset: int, size: int) -> None:
        if bar not in self.bar_sizes:
            raise EndpointAccessError(f"bar is {bar}: must be one of {sorted(self.bar_sizes)}")
        limit = self.bar_sizes[bar]
        if size < 0 or not 0 <= offset <= limit - size:
            raise EndpointAccessError(
                f"BAR {bar}, {size} bytes at {offset:#x}: must lie in {limit:#x}"
            )

    def _register_bytes(self) -> dict[int, int]:
        contents: dict[int, int] = {}
        for base, value in (
            (self.shell.version_offset, self.shell.version),
            (self.shell.features_offset, self.shell.features),
        ):
            contents.update(enumerate(value.to_bytes(4, "little"), base))
        return contents

    def _msix_bytes(self) -> dict[int, int]:
        contents = dict(enumerate(self.msix.table, self.shell.msix_table_offset))
        contents.update(enumerate(self.msix.pending_bits, self.shell.msix_pba_offset))
        return contents

    def _ring_doorbells(self, offset: int, enables: Sequence[bool]) -> None:
        for fifo in range(self.num_fifos):
            if not _writes_word(offset, enables, self.shell.notify(fifo)):
                continue
            head = self.layout.driver_queue_base(fifo) + self.layout.queue.head_offset
            self.doorbell_heads[fifo] = self._load_index(head)
            for observer in self.doorbell_observers:
                observer(fifo)

    def _track_tail(self, offset: int, enables: Sequence[bool]) -> None:
        # The other three index words are read from RAM on each use. A host write to the tail of the
        # driver queue invalidates the doorbell head, which refers to the previous contents of the
        # queue: slots between the two are stale. Set it to the new tail, so that the queue is empty
        # until the next doorbell.
        for fifo in range(self.num_fifos):
            tail = self.layout.driver_queue_base(fifo) + self.layout.queue.tail_offset
            if _writes_word(offset, enables, tail):
                self.doorbell_heads[fifo] = self._load_index(tail)

    # Device side

    def pop(self) -> tuple[int, bytes] | None:
        """Pop one message from the driver: FIFO and slot, or None if none can be popped.

        FIFOs are served round-robin. A FIFO is skipped while its device queue has no space for a
        response.
        """
        for step in range(1, self.num_fifos + 1):
            fifo = (self._last_served + step) % self.num_fifos
            queue, base = self.layout.queue, self.layout.driver_queue_base(fifo)
            tail = self._load_index(base + queue.tail_offset)
            if tail == self.doorbell_heads[fifo] or not self.device_queue_ready(fifo):
                continue
            start = base + queue.slot_offset(tail)
            slot = bytes(self.ram[start : start + queue.slot_size])
            self._store_index(base + queue.tail_offset, queue.next(tail))
            self._last_served = fifo
            return fifo, slot
        return None

    def device_queue_ready(self, fifo: int) -> bool:
        """Whether the device queue of FIFO ``fifo`` has space for a message."""
        queue, base = self.layout.queue, self.layout.device_queue_base(fifo)
        head = self._load_index(base + queue.head_offset)
        return queue.next(head) != self._load_index(base + queue.tail_offset)

    def push(self, fifo: int, message: bytes) -> bool:
        """Push one message to the driver and raise the FIFO's vector.

        A message of 8 bytes up to a slot is padded with zeros to the size of a slot. A message of
        another size is accepted, dropped and counted.

        Returns
        -------
        bool
            The message was accepted; False if the queue is full.

        Raises
        ------
        EndpointAccessError
            There is no such FIFO.
        """
        if not 0 <= fifo < self.num_fifos:
            raise EndpointAccessError(f"fifo is {fifo}: must be 0 to {self.num_fifos - 1}")
        queue, base = self.layout.queue, self.layout.device_queue_base(fifo)
        if not MIN_MESSAGE <= len(message) <= queue.slot_size:
            self.dropped_messages += 1
            return True
        if not self.device_queue_ready(fifo):
            return False
        head = self._load_index(base + queue.head_offset)
        start = base + queue.slot_offset(head)
        self.ram[start : start + queue.slot_size] = message.ljust(queue.slot_size, b"\0")
        self._store_index(base + queue.head_offset, queue.next(head))
        self.msix.trigger(self.shell.vector_of(fifo, self.num_fifos))
        return True

    def _load_index(self, at: int) -> int:
        word = int.from_bytes(self.ram[at : at + INDEX_SIZE], "little")
        return word % self.layout.queue.capacity

    def _store_index(self, at: int, index: int) -> None:
        self.ram[at : at + INDEX_SIZE] = index.to_bytes(INDEX_SIZE, "little")


def _writes_word(offset: int, enables: Sequence[bool], word: int) -> bool:
    """Whether a write at ``offset`` enables any byte of the dword at ``word``."""
    return any(enables[max(word - offset, 0) : max(word + 4 - offset, 0)])
