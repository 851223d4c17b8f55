# SPDX-License-Identifier: BSD-2-Clause
"""The write aligner: word writes from beats of any alignment, in order with the reads."""

import pytest
from bar_image import ERRORS, AccessLog, HostRequest
from streams import SIZES, Bench, geometry

from hdl.ingress.write_aligner import WriteAligner
from hdl.requests import BLOCK_BITS
from models.layout import LIVE_PAGES, SPSC_PAGES
from testbench.tlp import MEMORY_WRITES
from testbench.tlp.packets import enabled_bytes


def decoded(request, width):
    """Beats of a request as the decoder emits them, without the fields that it leaves undefined."""
    tlp = request.tlp
    step = width // 8
    # The bytes to write, as far as the header's length and the payload agree.
    enabled = enabled_bytes(tlp) if tlp.kind in MEMORY_WRITES else []
    enabled = enabled[: len(tlp.payload)] + [False] * (len(tlp.payload) - len(enabled))
    for number, beat in enumerate(tlp.beats(width)):
        here = enabled[number * step : (number + 1) * step]
        fields = {"data": beat["data"], "sop": beat["sop"], "eop": beat["eop"]}
        fields["enables"] = sum(bit << place for place, bit in enumerate(here))
        # The decoder gates it with `sop`.
        fields["needs_completion"] = beat["sop"] and request.is_read
        if beat["sop"]:
            dword = tlp.address // 4
            fields |= {
                "memory": tlp.kind & 0x1F == 0,
                "locked": tlp.kind in (0x01, 0x21),
                "write": tlp.kind in MEMORY_WRITES,
                "posted": not tlp.is_non_posted,
                "completion": tlp.is_completion,
                "poisoned": tlp.ep,
                "other_function": request.function != 0,
                "target": request.target.value,
                "address": dword,
                "length_m1": tlp.length - 1,
                "crosses": sum(
                    (dword >> bit != dword + tlp.length - 1 >> bit) << place
                    for place, bit in enumerate(BLOCK_BITS)
                ),
                "first_be": tlp.first_be,
                "last_be": tlp.last_be,
                "requester_id": tlp.requester_id,
                "tag": tlp.tag,
                "tc": tlp.tc,
                "attr": tlp.attr & 3,
                "ido": tlp.attr >> 2,
            }
        yield fields


@pytest.mark.parametrize("layout", [SPSC_PAGES, LIVE_PAGES], ids=lambda layout: layout.name)
@pytest.mark.parametrize("width, fifos", SIZES)
def test_writes_land_in_their_bytes_and_reads_stay_behind_them(width, fifos, layout):
    g = geometry(width, fifos, layout=layout)
    dut = WriteAligner(g)
    bench = Bench(dut, width, fifos, layout.name)
    sent = []
    log = AccessLog(g)

    def packets():
        while True:
            request = HostRequest(g, bench.rng)
            sent.append(request)
            yield list(decoded(request, width))

    bench.source(dut.i, packets())
    bench.sink(dut.writes, log.write)
    bench.sink(dut.reads, log.read)
    errors = {name: bench.count(getattr(dut.errors, name)) for name in ERRORS}
    bench.run()
    log.check(sent)
    for name, cycles in errors.items():
        assert len(cycles) == sum(name in request.errors for request in sent), name
    assert len(log.reads) > 3 and log.words > 20
