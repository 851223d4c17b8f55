# SPDX-License-Identifier: BSD-2-Clause
"""Options of the core that depend on its hard block."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from .dma.limits import COMPLETION_BYTES, MAX_COMPLETIONS, TAGS

__all__ = ["NO_OPTIONS", "BlockOptions"]

MIN_HEADERS = MAX_COMPLETIONS
MAX_HEADERS = MAX_COMPLETIONS * TAGS
"""Enough for the completions of all outstanding reads."""


def _option(text: str) -> bool:
    return field(default=False, metadata={"help": text})


def _number(text: str) -> int | None:
    return field(default=None, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """Options of the core's TLP ports; each is an option of ``python -m hdl``, too.

    Parameters
    ----------
    force_64_bit_addresses : bool
        Memory requests have four-dword headers below 4 GiB, too, where PCI Express Base 4.0 section
        2.2.4.1 requires three dwords. For a block that reads the address from the fields of a
        four-dword header, and builds the header itself.
    ignore_bus_number : bool
        Completions are accepted whatever the bus number in their requester ID. For a block that
        does not output its bus number, and forwards the function's completions only.
    separate_msix : bool
        MSI-X writes leave on a port of their own, ``tx_msix_wr_req_tlp``, instead of on
        ``tx_wr_req_tlp`` in order with the DMA writes. **Hazard**: the logic that merges the two
        ports must not let an MSI-X write pass a DMA write that left before it, or the interrupt
        reaches the host before its data. Without a DMA window the port always exists.
    sequence_numbers : bool
        Add the input ``wr_req_tx_seq_num_valid``. A DMA write has left when this input confirms it,
        not when the port accepts it; ``BRESP``, heads of device queues and their interrupts wait
        for the confirmation. For a block whose completions or reads may pass the writes that it
        holds.
    completion_headers : int or None
        Limit of the completions that can answer the outstanding reads, however the host splits
        them: 8 to 256. For a block that drops completions when its receive buffer is full; the
        buffer holds that many headers, and 64 bytes of data for each. None: no limit.

    Raises
    ------
    ValueError
        ``completion_headers`` is out of range; the text says what is allowed.
    """

    force_64_bit_addresses: bool = _option("use four-dword headers below 4 GiB, too")
    ignore_bus_number: bool = _option("accept completions whatever their requester's bus number")
    separate_msix: bool = _option(
        "MSI-X writes on a port of their own, not ordered with DMA writes"
    )
    sequence_numbers: bool = _option("add an input that confirms that a write left the hard block")
    completion_headers: int | None = _number(
        f"completions of {COMPLETION_BYTES} bytes that the block's receive buffer holds"
    )

    def __post_init__(self) -> None:
        headers = self.completion_headers
        if headers is not None and not MIN_HEADERS <= headers <= MAX_HEADERS:
            raise ValueError(
                f"completion_headers is {headers}: must be {MIN_HEADERS} to {MAX_HEADERS}"
            )

    @classmethod
    def names(cls) -> list[str]:
        """All options, as spelled on the command line."""
        return ["--" + option.name.replace("_", "-") for option in fields(cls)]

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Add every option to ``parser``."""
        for name, option in zip(cls.names(), fields(cls), strict=True):
            text = f"with --top core: {option.metadata['help']}"
            if option.default is None:
                parser.add_argument(name, type=int, metavar="N", help=text)
            else:
                parser.add_argument(name, action="store_true", help=text)

    @classmethod
    def of(cls, arguments: Namespace) -> "BlockOptions":
        """Collect what a parser with :meth:`add_arguments` read; defaults without them."""
        given: dict[str, Any] = {
            option.name: getattr(arguments, option.name, option.default) for option in fields(cls)
        }
        return cls(**given)

    @classmethod
    def from_options(cls, options: Iterable[str]) -> "BlockOptions":
        """Parse the result of :meth:`chosen`."""
        chosen: dict[str, Any] = {}
        for option in options:
            name, has_value, value = option.removeprefix("--").partition("=")
            chosen[name.replace("-", "_")] = int(value) if has_value else True
        return cls(**chosen)

    def chosen(self) -> list[str]:
        """Options that differ from their defaults, as spelled on the command line."""
        chosen = []
        for name, option in zip(self.names(), fields(self), strict=True):
            value = getattr(self, option.name)
            if value is True:
                chosen.append(name)
            elif value is not option.default:
                chosen.append(f"{name}={value}")
        return chosen


NO_OPTIONS = BlockOptions()
