# SPDX-License-Identifier: BSD-2-Clause
"""The request ingress: the right bytes in the right words, in order with the reads."""

import pytest
from bar_image import ERRORS, AccessLog, HostRequest
from streams import SIZES, UNTHROTTLED, Bench, geometry

from hdl.ingress import RequestIngress
from hdl.tlp import DATA_WIDTHS
from models.layout import LIVE_PAGES, SPSC_PAGES
from testbench.tlp.packets import memory_write


def packets(bench, g, sent):
    """Beats of random requests, some of which are discarded; the others are added to ``sent``."""
    rng = bench.rng
    while True:
        request = HostRequest(g, rng)
        beats = [beat | {"discard": 0} for beat in request.tlp.beats(g.data_width)]
        beats[0] |= {"bar_id": request.bar_id, "func_num": request.function}
        for beat in beats[1:]:
            del beat["hdr"]
        if rng.random() < 0.05:
            beats = [beats[0] | {"discard": 1}]
        else:
            sent.append(request)
        yield beats


@pytest.mark.parametrize("layout", [SPSC_PAGES, LIVE_PAGES], ids=lambda layout: layout.name)
@pytest.mark.parametrize("width, fifos", SIZES)
def test_writes_land_in_their_bytes_and_reads_stay_behind_them(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    dut = RequestIngress(g)
    bench = Bench(dut, width, fifos, layout.name)
    sent = []
    log = AccessLog(g)
    bench.source(dut.i, packets(bench, g, sent), discard=dut.discard)
    bench.sink(dut.writes, log.write)
    bench.sink(dut.reads, log.read)
    errors = {name: bench.count(getattr(dut.errors, name)) for name in ERRORS}
    bench.run()
    log.check(sent)
    for name, cycles in errors.items():
        assert len(cycles) == sum(name in request.errors for request in sent), name
    assert len(log.reads) > 3 and log.words > 20


@pytest.mark.parametrize("width", DATA_WIDTHS)
@pytest.mark.parametrize("offset", [0, 4])
def test_unaligned_write_takes_one_more_cycle(width, offset):
    """One word per beat, and one for the dwords that spill."""
    dut = RequestIngress(geometry(width))
    bench = Bench(dut, paces=UNTHROTTLED)
    tlp = memory_write(0x1000 + offset, bytes(width))
    beats = [beat | {"bar_id": 1, "func_num": 0, "discard": 0} for beat in tlp.beats(width)]
    bench.source(dut.i, [beats] * 3, discard=dut.discard)
    words = bench.sink(dut.writes)
    bench.sink(dut.reads)
    bench.run()
    cycles = [word["cycle"] for word in words]
    assert len(cycles) == 3 * (8 + (offset != 0))
    assert cycles == list(range(cycles[0], cycles[0] + len(cycles)))
