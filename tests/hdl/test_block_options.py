# SPDX-License-Identifier: BSD-2-Clause
"""Options of the core for its hard block: on the command line, and the ports that they add."""

import argparse
from dataclasses import fields
from itertools import product

import pytest

from hdl.block_options import NO_OPTIONS, BlockOptions
from hdl.core import AmpPciCore

ALL = [
    BlockOptions(**dict(zip((each.name for each in fields(BlockOptions)), chosen, strict=True)))
    for chosen in product(
        *((None, 36) if each.default is None else (False, True) for each in fields(BlockOptions))
    )
]


@pytest.mark.parametrize("block", ALL, ids=lambda block: " ".join(block.chosen()) or "none")
def test_options_round_trip(block):
    parser = argparse.ArgumentParser()
    BlockOptions.add_arguments(parser)
    assert BlockOptions.of(parser.parse_args(block.chosen())) == block
    assert BlockOptions.from_options(block.chosen()) == block


def test_parser_without_options_gives_the_defaults():
    assert BlockOptions.of(argparse.Namespace()) == NO_OPTIONS


@pytest.mark.parametrize("block", ALL, ids=lambda block: " ".join(block.chosen()) or "none")
@pytest.mark.parametrize("dma", [True, False])
def test_options_add_their_ports(block, dma):
    if (block.sequence_numbers or block.completion_headers) and not dma:
        with pytest.raises(ValueError, match=r"(sequence_numbers|completion_headers) without dma"):
            AmpPciCore(block=block, dma=dma)
        return
    members = AmpPciCore(block=block, dma=dma).signature.members
    own = block.separate_msix or not dma
    assert ("tx_msix_wr_req_tlp" in members) == ("msix_refused" in members) == own
    assert ("wr_req_tx_seq_num_valid" in members) == block.sequence_numbers


@pytest.mark.parametrize("headers", [7, 257])
def test_number_of_completion_headers_is_checked(headers):
    with pytest.raises(ValueError, match=f"completion_headers is {headers}: must be 8 to 256"):
        BlockOptions(completion_headers=headers)
