# SPDX-License-Identifier: BSD-2-Clause
"""ARP and ICMP echo, with scapy as the reference for every frame."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_support import FIXED

from models.ethernet import (
    SHORTEST_FRAME,
    NetworkPeer,
    arp_request,
    checksum,
    echo_request,
    parse_arp_reply,
    parse_echo_reply,
)

# scapy warns of missing network interfaces, which are not needed.
logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP  # noqa: E402
from scapy.layers.l2 import ARP, Ether  # noqa: E402
from scapy.packet import Raw  # noqa: E402
from scapy.utils import checksum as scapy_checksum  # noqa: E402

MAC, IP_ADDRESS = bytes.fromhex("020000000099"), bytes([10, 0, 0, 2])
OWN_MAC, OWN_IP = bytes.fromhex("020000000001"), bytes([10, 0, 0, 1])
ARP_FRAME = arp_request(OWN_MAC, OWN_IP, IP_ADDRESS)[:42]
"""ARP request without padding."""
NAMES = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:99"}


def peer():
    return NetworkPeer(MAC, IP_ADDRESS)


def padded(packet):
    return bytes(packet).ljust(SHORTEST_FRAME, b"\0")


def ping(payload=b"", *, options=(), **fields):
    """Echo request built by scapy, with ``fields`` in the IP header."""
    header = {"src": "10.0.0.1", "dst": "10.0.0.2", "flags": "DF", "id": 0, **fields}
    message = ICMP(type=8, id=0x1234, seq=7) / Raw(payload)
    return Ether(**NAMES) / IP(options=list(options), **header) / message


def test_arp_request_and_reply():
    ours = arp_request(OWN_MAC, OWN_IP, IP_ADDRESS)
    theirs = Ether(src=NAMES["src"], dst="ff:ff:ff:ff:ff:ff") / ARP(
        op=1, hwsrc=NAMES["src"], psrc="10.0.0.1", hwdst="00:00:00:00:00:00", pdst="10.0.0.2"
    )
    assert ours == padded(theirs)
    host = peer()
    (reply,) = host.answer(bytes(theirs))
    expected = Ether(src=NAMES["dst"], dst=NAMES["src"]) / ARP(
        op=2, hwsrc=NAMES["dst"], psrc="10.0.0.2", hwdst=NAMES["src"], pdst="10.0.0.1"
    )
    assert reply == padded(expected)
    assert parse_arp_reply(reply, IP_ADDRESS) == MAC
    assert parse_arp_reply(reply, OWN_IP) is None and parse_arp_reply(ours, OWN_IP) is None
    assert (host.arp_replies, host.echo_replies, host.ignored) == (1, 0, 0)


@pytest.mark.parametrize("size", [0, 1, 17, 18, 19, 56, 1472])
def test_echo(size):
    payload = bytes(n * 7 & 0xFF for n in range(size))
    assert echo_request(OWN_MAC, OWN_IP, MAC, IP_ADDRESS, 0x1234, 7, payload) == padded(
        ping(payload)
    )
    host = peer()
    (reply,) = host.answer(padded(ping(payload)))
    parsed = Ether(reply)
    assert (parsed.src, parsed.dst) == (NAMES["dst"], NAMES["src"])
    assert (parsed[IP].src, parsed[IP].dst) == ("10.0.0.2", "10.0.0.1")
    icmp = parsed[ICMP]
    assert (icmp.type, icmp.code, icmp.id, icmp.seq) == (0, 0, 0x1234, 7)
    # Build the packet again without checksums: scapy then computes them.
    given_checks = parsed[IP].chksum, icmp.chksum
    del parsed[IP].chksum, parsed[ICMP].chksum
    again = Ether(bytes(parsed))
    assert (again[IP].chksum, again[ICMP].chksum) == given_checks
    assert parse_echo_reply(reply, OWN_MAC, OWN_IP) == (0x1234, 7, payload)
    assert parse_echo_reply(reply, MAC, OWN_IP) is None
    assert parse_echo_reply(reply, OWN_MAC, IP_ADDRESS) is None
    assert (host.arp_replies, host.echo_replies) == (0, 1)


def test_header_with_options():
    from scapy.layers.inet import IPOption_NOP

    (reply,) = peer().answer(padded(ping(b"options", options=[IPOption_NOP()] * 4)))
    assert parse_echo_reply(reply, OWN_MAC, OWN_IP) == (0x1234, 7, b"options")


@pytest.mark.parametrize(
    "frame",
    [
        bytes(Ether(**NAMES) / ARP(op=1, psrc="10.0.0.1", pdst="10.0.0.3")),
        bytes(Ether(**NAMES) / ARP(op=2, psrc="10.0.0.1", pdst="10.0.0.2")),
        bytes(ping(b"x" * 30, dst="10.0.0.3")),
        bytes(ping(b"x" * 30, flags="MF")),
        bytes(ping(b"x" * 30, frag=2)),
        bytes(ping(b"x" * 30, proto=17)),
        bytes(ping(b"x" * 30, version=6)),
        bytes(ping(b"x" * 30, chksum=0)),
        bytes(ping(b"x" * 30, len=400)),
        bytes(ping(b"x" * 30, len=27)),
        bytes(ping(b"x" * 30, ihl=4)),
        bytes(ping(b"x" * 30))[:-1],
        bytes(Ether(src=NAMES["src"], dst="02:00:00:00:00:98") / ping(b"x" * 30)[IP]),
        bytes(Ether(**NAMES) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=0)),
        bytes(Ether(**NAMES) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=8, code=1)),
        bytes(Ether(**NAMES) / IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(type=8, chksum=1)),
        b"",
        bytes(13),
    ],
)
def test_other_frames_are_ignored(frame):
    host = peer()
    assert host.answer(frame) == []
    assert host.ignored == 1


@pytest.mark.parametrize("at", range(12, 22))
def test_arp_with_another_type_or_operation_is_ignored(at):
    frame = bytearray(arp_request(OWN_MAC, OWN_IP, IP_ADDRESS))
    assert peer().answer(bytes(frame))
    frame[at] ^= 1
    assert peer().answer(bytes(frame)) == []


@pytest.mark.parametrize("at", [12, 13])
def test_echo_with_another_ethertype_is_ignored(at):
    frame = bytearray(bytes(ping(b"x" * 30)))
    frame[at] ^= 1
    assert peer().answer(bytes(frame)) == []


def test_unfragmented_echo_without_dont_fragment_is_answered():
    (reply,) = peer().answer(bytes(ping(b"x" * 30, flags=0)))
    assert Ether(reply)[Raw].load == b"x" * 30


def test_header_length_below_20_is_ignored():
    """The frame is valid apart from its header length, which makes it end in the address."""
    message = bytes(ICMP(type=8, id=1, seq=1) / Raw(b"x" * 40))
    header = bytes(IP(ihl=4, len=16 + len(message), proto=1, src="10.0.0.1", chksum=0))[:16]
    header = header[:10] + scapy_checksum(header).to_bytes(2, "big") + header[12:]
    frame = bytes(Ether(type=0x0800, **NAMES)) + header + message
    assert NetworkPeer(MAC, message[:4]).answer(frame) == []


def test_echo_request_is_not_parsed_as_reply():
    frame = echo_request(OWN_MAC, OWN_IP, MAC, IP_ADDRESS, 1, 1, b"")
    assert parse_echo_reply(frame, MAC, IP_ADDRESS) is None


def test_reply_matches_scapy():
    (reply,) = peer().answer(bytes(ping(b"abc")))
    assert reply == padded(
        Ether(src=NAMES["dst"], dst=NAMES["src"])
        / IP(src="10.0.0.2", dst="10.0.0.1", flags="DF", id=0)
        / ICMP(type=0, id=0x1234, seq=7)
        / Raw(b"abc")
    )
    assert len(reply) == 60


@pytest.mark.parametrize("frame", [bytes(ping(b"x" * 30)), ARP_FRAME], ids=["echo", "arp"])
def test_truncated_frames_are_ignored(frame):
    assert peer().answer(frame)
    assert not any(peer().answer(frame[:size]) for size in range(len(frame)))


def tampered(frame):
    """Strategy of ``frame`` with some bytes replaced, truncated or extended."""
    places = st.dictionaries(st.integers(0, len(frame) - 1), st.integers(0, 255), max_size=4)

    def build(changes, size, tail):
        changed = bytes(changes.get(at, byte) for at, byte in enumerate(frame))
        return changed[:size] + tail

    return st.builds(build, places, st.integers(0, len(frame)) | st.none(), st.binary(max_size=40))


@FIXED
@given(
    st.one_of(
        st.binary(max_size=200),
        tampered(ARP_FRAME),
        tampered(bytes(ping(b"x" * 30))),
        tampered(echo_request(MAC, IP_ADDRESS, OWN_MAC, OWN_IP, 1, 1, b"x" * 30)),
    )
)
def test_any_bytes(frame):
    host = peer()
    replies = host.answer(frame)
    assert len(replies) == host.arp_replies + host.echo_replies == 1 - host.ignored
    for reply in replies:
        assert len(reply) >= 60 and reply[6:12] == MAC
        assert parse_arp_reply(reply, IP_ADDRESS) == MAC or not scapy_checksum(reply[14:34])
    parse_arp_reply(frame, OWN_IP)
    parse_echo_reply(frame, OWN_MAC, OWN_IP)


@FIXED
@given(st.integers(14, 71), st.integers(1, 255))
def test_corrupted_reply_is_refused(at, change):
    (reply,) = peer().answer(bytes(ping(b"x" * 30)))
    frame = bytearray(reply)
    frame[at] ^= change
    assert parse_echo_reply(reply, OWN_MAC, OWN_IP) is not None
    assert parse_echo_reply(bytes(frame), OWN_MAC, OWN_IP) is None


@FIXED
@given(st.binary(min_size=30, max_size=100), st.integers(0, 10_000), st.integers(1, 255))
def test_corrupted_request_is_ignored(payload, place, change):
    """The two checksums cover everything from the IP header on."""
    frame = bytearray(bytes(ping(payload)))
    at = 14 + place % (len(frame) - 14)
    frame[at] ^= change
    assert peer().answer(bytes(frame)) == []


def test_addresses_are_checked():
    with pytest.raises(ValueError, match="mac and ip are 5 and 4 bytes: must be 6 and 4"):
        NetworkPeer(bytes(5), bytes(4))
    with pytest.raises(ValueError, match="mac and ip are 6 and 16 bytes: must be 6 and 4"):
        NetworkPeer(bytes(6), bytes(16))


def test_checksum_carries_twice():
    # RFC 1071: carries are added until none is left, twice for these words.
    assert checksum(b"\xff\xff\xff\xff\0\1") == 0xFFFE
    assert checksum(b"\1") == checksum(b"\1\0") == 0xFEFF
