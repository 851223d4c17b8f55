# SPDX-License-Identifier: BSD-2-Clause
"""Random requests to the BARs and their effects, for the benches of the request ingress."""

from hdl.requests import Target
from hdl.tlp import CompletionStatus
from testbench.tlp import Tlp
from testbench.tlp import TlpKind as Kind
from testbench.tlp.packets import enabled_bytes, memory_read, memory_write

ERRORS = ("unsupported_posted", "unsupported_non_posted", "poisoned")


def bars(geometry):
    """BAR number and target of each BAR."""
    shell = geometry.shell
    return {
        shell.register_bar: Target.REGISTERS,
        shell.fifo_bar: Target.FIFOS,
        shell.msix_bar: Target.MSIX,
    }


class HostRequest:
    """A random request and its effects by the rules of PCI Express.

    Attributes
    ----------
    tlp, bar_id, function
        The request as it is received.
    served
        It is a memory request for a BAR of function 0 and within 4 KiB (sections 2.2.7, 2.3.1).
    offset
        Offset of its dword address in the BAR, in bytes.
    """

    def __init__(self, geometry, rng):
        numbers = bars(geometry)
        self.bar_id = rng.choice([*numbers] * 4 + [7])
        self.function = rng.choice([0] * 15 + [1])
        size = geometry.bar_sizes.get(self.bar_id, 4096)
        # Few pages, so that writes overlap, and the words of the index words.
        page = rng.choice([0, 0x1000, 0x2000, size - 0x1000]) % size
        in_page = rng.choice([0, 0x40, 0x80, 0xFFC, rng.randrange(4096)]) & ~3
        self.offset = page + in_page
        address = rng.randrange(0, 1 << rng.choice([32, 64]), size) + self.offset
        count = rng.choice([1, 4, 7, 8, 9, 16, 63, 64, 65, rng.randint(1, 256)])
        if rng.random() < 0.9:
            count = min(count, 4096 - in_page)
        kind = rng.choice(["write"] * 5 + ["read"] * 2 + ["other"])
        fields = {"requester_id": rng.getrandbits(16), "tag": rng.getrandbits(8)}
        if kind == "write":
            self.tlp = self._write(rng, address, count, fields)
        elif kind == "read":
            fields |= {"tc": rng.getrandbits(3), "attr": rng.getrandbits(3)}
            self.tlp = memory_read(address, rng.choice([count, count, 0]), **fields)
            if rng.random() < 0.1:
                self.tlp.kind |= 1
        else:
            self.tlp = self._other(rng)
        self.served = (
            self.tlp.kind in (Kind.MWR32, Kind.MWR64, Kind.MRD32, Kind.MRD64)
            and self.bar_id in numbers
            and self.function == 0
            and in_page + 4 * self.tlp.length <= 4096
        )
        if self.served and self.tlp.has_data and rng.random() < 0.05:
            # Only supported writes: the rules leave open how another one is reported.
            self.tlp = self.tlp.replace(ep=1)
        self.target = numbers.get(self.bar_id, Target.NONE)

    def _write(self, rng, address, count, fields):
        skipped = rng.randrange(min(4, count))
        tlp = memory_write(address + skipped, rng.randbytes(count - skipped), **fields)
        choice = rng.random()
        if choice < 0.1:
            # Any byte enables are allowed for up to two dwords at an even address.
            first, last = rng.getrandbits(4), rng.getrandbits(4)
            tlp = tlp.replace(first_be=first, last_be=last if tlp.length > 1 else 0)
        elif choice < 0.2:
            # The payload disagrees with the length in the header.
            payload = rng.randbytes(4 * max(tlp.length + rng.choice([-2, -1, 1, 9]), 1))
            tlp = tlp.replace(payload=payload)
        return tlp

    def _other(self, rng):
        kind = rng.choice([Kind.IORD, Kind.IOWR, Kind.CFGRD0, Kind.CFGRD1, Kind.CPL, 0x30, 0x74])
        payload = rng.randbytes(4) if kind & 0x40 else b""
        return Tlp(kind, length=1, tag=rng.getrandbits(8), byte_count=4, payload=payload)

    @property
    def is_read(self):
        """It is non-posted, so that it needs a completion."""
        return self.tlp.is_non_posted

    @property
    def errors(self):
        """Names of the errors to report."""
        if self.tlp.ep:
            return ["poisoned"]
        if self.served or self.tlp.is_completion:
            return []
        return ["unsupported_non_posted" if self.is_read else "unsupported_posted"]

    def written(self):
        """Bytes that the request writes: by target and byte offset in the BAR."""
        tlp = self.tlp
        if not self.served or not tlp.has_data or tlp.ep:
            return {}
        # As far as header and payload agree.
        pairs = zip(enabled_bytes(tlp), tlp.payload, strict=False)
        return {
            (self.target.value, self.offset + place): value
            for place, (enabled, value) in enumerate(pairs)
            if enabled
        }

    def read_request(self):
        """Fields of the read request that the rules determine."""
        tlp = self.tlp
        fields = {
            "status": CompletionStatus.SUCCESS.value
            if self.served
            else CompletionStatus.UNSUPPORTED_REQUEST.value,
            "requester_id": tlp.requester_id,
            "tag": tlp.tag,
            "tc": tlp.tc,
            "attr": tlp.attr & 3,
            "ido": tlp.attr >> 2,
            "locked": tlp.kind in (Kind.MRDLK32, Kind.MRDLK64),
        }
        if self.served:
            fields |= {"target": self.target.value, "address": self.offset // 4}
        if tlp.kind in (Kind.MRD32, Kind.MRD64, Kind.MRDLK32, Kind.MRDLK64):
            fields |= {
                "length_m1": tlp.length - 1,
                "first_be": tlp.first_be,
                "last_be": tlp.last_be,
            }
        return fields


class AccessLog:
    """Word writes and read requests as they leave the ingress, in their order.

    Attributes
    ----------
    reads
        Read requests.
    written
        Bytes written before each read request and after the last one.
    words
        Number of word writes.
    """

    def __init__(self, geometry):
        self._geometry = geometry
        self.reads = []
        self.written = [{}]
        self.words = 0
        index_words = geometry.index_words
        self._shared = ~0
        for word in index_words:
            self._shared &= ~(word ^ index_words[0])

    def write(self, word):
        """Add a word write, and check its flags."""
        g = self._geometry
        self.words += 1
        for byte in range(g.word_bytes):
            if word["mask"] >> byte & 1:
                place = word["address"] * g.word_bytes + byte
                self.written[-1][word["target"], place] = word["data"] >> 8 * byte & 0xFF
        in_fifos = word["target"] == Target.FIFOS.value
        offset, layout = word["address"] * g.word_bytes, g.layout
        half = 1 << (layout.driver_queue ^ layout.device_queue).bit_length() - 1
        is_ram = in_fifos and layout.is_ram(offset, g.num_fifos)
        in_device = (offset ^ layout.device_queue) & half == 0
        assert word["to_driver_queue"] == (is_ram and not in_device), f"to_driver_queue of {word}"
        assert word["to_device_queue"] == (is_ram and in_device), f"to_device_queue of {word}"
        may_be_index = (word["address"] ^ g.index_words[0]) & self._shared == 0
        assert word["may_be_index"] == (in_fifos and may_be_index), f"may_be_index of {word}"
        assert word["lane_0"] == (word["mask"] & 0xF != 0), f"lane_0 of {word}"

    def read(self, request):
        """Add a read request."""
        self.reads.append(request)
        self.written.append({})

    def check(self, requests):
        """Check the log against ``requests``, all of them."""
        reads = [request for request in requests if request.is_read]
        assert len(self.reads) == len(reads), f"{len(self.reads)} of {len(reads)} read requests"
        for found, request in zip(self.reads, reads, strict=True):
            for name, value in request.read_request().items():
                assert found[name] == value, f"{name} of {request.tlp}: {found[name]:#x}"
        expected = [{}]
        for request in requests:
            expected[-1].update(request.written())
            if request.is_read:
                expected.append({})
        for place, (found, written) in enumerate(zip(self.written, expected, strict=True)):
            assert found == written, f"writes before read request {place}"
