# SPDX-License-Identifier: BSD-2-Clause
"""Non-posted requests and the completions that PCI Express requires, for the completer's benches.

Sections 2.2.9 and 2.3.1.1 of PCI Express Base 4.0.
"""

from dataclasses import dataclass

from hdl.requests import BLOCK_BITS, Target
from hdl.tlp import CompletionStatus
from models.config_space import LARGEST_SIZE_CODE, coded_size
from testbench.tlp import Tlp
from testbench.tlp import TlpKind as Kind
from testbench.tlp.packets import request_bytes

SUCCESS = CompletionStatus.SUCCESS.value
UNSUPPORTED = CompletionStatus.UNSUPPORTED_REQUEST.value

SIZES = [coded_size(code) for code in range(LARGEST_SIZE_CODE + 1)]
"""Values of Max_Payload_Size."""


@dataclass(frozen=True)
class Split:
    """One completion of a read: ``dwords`` from dword address ``start`` of the BAR on.

    ``byte_count`` and ``lower_address`` are the fields of its header, ``is_last`` says that it is
    the last completion of its request.
    """

    start: int
    dwords: int
    byte_count: int
    lower_address: int
    is_last: bool

    def beats(self, lanes):
        """Beats of the payload, at least one."""
        return max(-(-self.dwords // lanes), 1)

    def is_direct(self, lanes):
        """No dword moves to an earlier beat than its word."""
        offset = self.start % lanes
        return offset == 0 or offset + self.dwords <= lanes

    def words(self, lanes):
        """Addresses of the words to read: one for each beat, and one more where dwords move."""
        count = self.beats(lanes) + (not self.is_direct(lanes))
        return [self.start // lanes + place for place in range(count)]

    def strb(self, lanes):
        """``strb`` of the last beat."""
        return (1 << (self.dwords - 1) % lanes + 1) - 1 if self.dwords else 0


class Request:
    """A random non-posted request as the ingress passes it on.

    Attributes
    ----------
    tlp
        The request as the host sent it; its address is the offset in the BAR.
    target, status
        Values of the fields of the read request.
    """

    def __init__(self, rng, bar_bytes):
        page = rng.randrange(0, bar_bytes, 4096)
        in_page = rng.choice([0, 4, 120, 124, 128, 0xFFC, 4 * rng.randrange(1024)])
        room = (4096 - in_page) // 4
        length = rng.choice([1, 1, 2, 3, 4, 5, 8, 15, 16, 17, 33, rng.randint(1, 80)])
        if rng.random() < 0.02:
            length = rng.choice([64, 128, 129, 1024])
        fields = {"first_be": rng.choice([0xF, 0xE, 0xC, 0x8]), "last_be": 0}
        length = min(length, room)
        if length > 1:
            fields["last_be"] = rng.choice([0xF, 0x7, 0x3, 0x1])
        elif rng.random() < 0.5:
            fields["first_be"] = rng.getrandbits(4)
        self.status = SUCCESS if rng.random() < 0.85 else UNSUPPORTED
        self.target = rng.choice([Target.REGISTERS, Target.FIFOS, Target.MSIX]).value
        self.tlp = Tlp(
            Kind.MRDLK32 if self.status == UNSUPPORTED and rng.random() < 0.3 else Kind.MRD32,
            length=length,
            address=page + in_page,
            requester_id=rng.getrandbits(16),
            tag=rng.getrandbits(8),
            tc=rng.getrandbits(3),
            attr=rng.getrandbits(3),
            **fields,
        )

    @property
    def dword(self):
        """Dword address in the BAR."""
        return self.tlp.address // 4

    def fields(self):
        """The request as a dictionary of fields of ``ReadRequest``."""
        tlp, dword = self.tlp, self.dword
        end = dword + tlp.length - 1
        return {
            "target": self.target,
            "address": dword,
            "length_m1": tlp.length - 1,
            "crosses": sum(
                (dword >> bit != end >> bit) << place for place, bit in enumerate(BLOCK_BITS)
            ),
            "first_be": tlp.first_be,
            "last_be": tlp.last_be,
            "requester_id": tlp.requester_id,
            "tag": tlp.tag,
            "tc": tlp.tc,
            "attr": tlp.attr & 3,
            "ido": tlp.attr >> 2,
            "locked": tlp.kind & 1,
            "status": self.status,
        }

    def splits(self, max_payload):
        """The completions, split at every multiple of ``max_payload`` bytes."""
        first, remaining = request_bytes(self.tlp)
        if self.status != SUCCESS:
            return [Split(self.dword, 0, remaining, first & 0x7F, True)]
        block = max_payload // 4
        start, end = self.dword, self.dword + self.tlp.length
        address = first
        found = []
        while start < end:
            stop = min(end, (start // block + 1) * block)
            found.append(Split(start, stop - start, remaining, address & 0x7F, stop == end))
            remaining -= 4 * stop - address
            start, address = stop, 4 * stop
        return found


def plan_of(request, max_payload, lanes):
    """Fields of the plan of a request that the completer uses."""
    splits = request.splits(max_payload)
    first = splits[0]
    words = len(first.words(lanes))
    fields = {
        "single": words == 1,
        "whole": len(splits) == 1,
        "sole": words == len(splits) == 1,
        "skipped": first.lower_address % 4,
        "after": 4 * request.tlp.length - first.lower_address % 4 - first.byte_count,
        "tail": first.byte_count - 4 * (request.tlp.length - 1),
    }
    if request.status == SUCCESS:
        fields["extent"] = first.dwords - 1
        if words > 1:
            fields["pair"] = words == 2
    return fields
