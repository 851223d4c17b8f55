# SPDX-License-Identifier: BSD-2-Clause
"""What the hard block in front of the core needs or offers."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from .dma.limits import COMPLETION_BYTES, MOST_COMPLETIONS, TAGS

__all__ = ["NO_OPTIONS", "BlockOptions"]

FEWEST_HEADERS = MOST_COMPLETIONS
MOST_HEADERS = MOST_COMPLETIONS * TAGS
"""Enough for whatever may be under way."""


def _option(text: str) -> bool:
    return field(default=False, metadata={"help": text})


def _number(text: str) -> int | None:
    return field(default=None, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """Choices of the core's TLP ports; each is an option of ``python -m hdl``.

    Parameters
    ----------
    force_64_bit_addresses : bool
        Memory requests have four-dword headers below 4 GiB, too, where PCI Express Base 4.0 section
        2.2.4.1 wants three. For a block that takes the address from where such a header has it, and
        makes the header anew.
    ignore_bus_number : bool
        Completions belong to the function whatever the bus number in their requester ID. For a
        block that does not tell its bus number, and passes on no completion but the function's.
    separate_msix : bool
        MSI-X writes have a port of their own, ``tx_msix_wr_req_tlp``, and not ``tx_wr_req_tlp`` in
        order with the DMA writes. **Hazard**: whatever merges the two ports must let no MSI-X write
        pass a DMA write that left before it, or the host is interrupted for data that is not there.
        Always so without a DMA window.
    sequence_numbers : bool
        There is an input ``wr_req_tx_seq_num_valid``. A DMA write has left when that says so, not
        when the port took it; ``BRESP``, heads of device queues and their interrupts wait for it.
        For a block whose completions or reads may pass the writes that it holds.
    completion_headers : int or None
        As many completions may answer the reads under way, however the host splits them: 8 to 256.
        For a block that drops completions for which its receive buffer has no room; it has that
        many credits for their headers, and 64 bytes for each. None: the block takes all.

    Raises
    ------
    ValueError
        ``completion_headers`` is out of range; the text says what is allowed.
    """

    force_64_bit_addresses: bool = _option("four-dword headers below 4 GiB, too")
    ignore_bus_number: bool = _option("take completions whatever their requester's bus number")
    separate_msix: bool = _option("MSI-X writes on a port of their own, in no order with the rest")
    sequence_numbers: bool = _option("an input tells when a write has left the hard block")
    completion_headers: int | None = _number(
        f"completions of {COMPLETION_BYTES} bytes that the block's receive buffer has room for"
    )

    def __post_init__(self) -> None:
        headers = self.completion_headers
        if headers is not None and not FEWEST_HEADERS <= headers <= MOST_HEADERS:
            raise ValueError(
                f"completion_headers is {headers}: must be {FEWEST_HEADERS} to {MOST_HEADERS}"
            )

    @classmethod
    def names(cls) -> list[str]:
        """Every choice, as the command line has it."""
        return ["--" + option.name.replace("_", "-") for option in fields(cls)]

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """Give ``parser`` an option for each choice."""
        for name, option in zip(cls.names(), fields(cls), strict=True):
            text = f"with --top core: {option.metadata['help']}"
            if option.default is None:
                parser.add_argument(name, type=int, metavar="N", help=text)
            else:
                parser.add_argument(name, action="store_true", help=text)

    @classmethod
    def of(cls, arguments: Namespace) -> "BlockOptions":
        """What a parser with :meth:`add_arguments` has read; without them, nothing is chosen."""
        given: dict[str, Any] = {
            option.name: getattr(arguments, option.name, option.default) for option in fields(cls)
        }
        return cls(**given)

    @classmethod
    def from_options(cls, options: Iterable[str]) -> "BlockOptions":
        """The opposite of :meth:`chosen`."""
        chosen: dict[str, Any] = {}
        for option in options:
            name, has_value, value = option.removeprefix("--").partition("=")
            chosen[name.replace("-", "_")] = int(value) if has_value else True
        return cls(**chosen)

    def chosen(self) -> list[str]:
        """Those that are set, as the command line has them."""
        chosen = []
        for name, option in zip(self.names(), fields(self), strict=True):
            value = getattr(self, option.name)
            if value is True:
                chosen.append(name)
            elif value is not option.default:
                chosen.append(f"{name}={value}")
        return chosen


NO_OPTIONS = BlockOptions()
