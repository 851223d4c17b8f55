# SPDX-License-Identifier: BSD-2-Clause
"""Ethernet II, ARP, IPv4 and ICMP echo as far as a ping needs them, and a peer that answers.

Sources: RFC 826 (ARP), RFC 791 (IPv4), RFC 792 (ICMP), RFC 1071 (checksum). Frames have no frame
check sequence; frames shorter than 60 bytes are padded, as on a wire.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ETHERNET = struct.Struct(">6s6sH")
"""destination, source, type."""
ARP = struct.Struct(">HHBBH6s4s6s4s")
"""hardware and protocol type, their address sizes, operation; sender and target addresses."""
IPV4 = struct.Struct(">BBHHHBBH4s4s")
"""version and header length, service, total length, identification, fragment, time to live,
protocol, checksum; source and destination."""
ICMP_ECHO = struct.Struct(">BBHHH")
"""type, code, checksum, identifier, sequence."""

BROADCAST = b"\xff" * 6
SHORTEST_FRAME = 60
TYPE_IPV4 = 0x0800
TYPE_ARP = 0x0806
ARP_FOR_IPV4 = (1, TYPE_IPV4, 6, 4)
ARP_REQUEST, ARP_REPLY = 1, 2
PROTOCOL_ICMP = 1
ECHO_REPLY, ECHO_REQUEST = 0, 8
DONT_FRAGMENT = 0x4000
TIME_TO_LIVE = 64


def checksum(data: bytes) -> int:
    """Internet checksum of ``data``, 16 bits; 0 for data that includes its own checksum."""
    padded = data + bytes(len(data) % 2)
    total = sum(word for (word,) in struct.iter_unpack(">H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_request(own_mac: bytes, own_ip: bytes, ip: bytes) -> bytes:
    """Make a broadcast frame that requests the MAC address of ``ip``."""
    return _arp(BROADCAST, ARP_REQUEST, own_mac, own_ip, bytes(6), ip)


def parse_arp_reply(frame: bytes, ip: bytes) -> bytes | None:
    """MAC address of ``ip`` in an ARP reply; None if ``frame`` is not such a reply."""
    arp = _parse_arp(frame)
    if arp is None or arp.operation != ARP_REPLY or arp.sender_ip != ip:
        return None
    return arp.sender_mac


def echo_request(
    own_mac: bytes,
    own_ip: bytes,
    mac: bytes,
    ip: bytes,
    identifier: int,
    sequence: int,
    payload: bytes,
) -> bytes:
    """Make an ICMP echo request with ``payload`` to ``ip`` at ``mac``."""
    return _echo(ECHO_REQUEST, own_mac, own_ip, mac, ip, identifier, sequence, payload)


def parse_echo_reply(frame: bytes, own_mac: bytes, own_ip: bytes) -> tuple[int, int, bytes] | None:
    """Identifier, sequence and payload of an echo reply to the own addresses, or None."""
    echo = _parse_echo(frame)
    if echo is None or (echo.kind, echo.target_mac, echo.target_ip) != (
        ECHO_REPLY,
        own_mac,
        own_ip,
    ):
        return None
    return echo.identifier, echo.sequence, echo.payload


class NetworkPeer:
    """Host at the other end of the wire, which answers ARP and echo requests.

    Parameters
    ----------
    mac
        MAC address, 6 bytes.
    ip
        IP address, 4 bytes.

    Raises
    ------
    ValueError
        An address has another size.

    Attributes
    ----------
    arp_replies
        Number of ARP replies.
    echo_replies
        Number of echo replies.
    ignored
        Number of frames without an answer.
    """

    def __init__(self, mac: bytes, ip: bytes) -> None:
        if len(mac) != 6 or len(ip) != 4:
            raise ValueError(f"mac and ip are {len(mac)} and {len(ip)} bytes: must be 6 and 4")
        self.mac = mac
        self.ip = ip
        self.arp_replies = 0
        self.echo_replies = 0
        self.ignored = 0

    def answer(self, frame: bytes) -> list[bytes]:
        """Frames in answer to ``frame``, one or none. Any bytes are accepted."""
        arp = _parse_arp(frame)
        if arp is not None and arp.operation == ARP_REQUEST and arp.target_ip == self.ip:
            self.arp_replies += 1
            return [
                _arp(arp.sender_mac, ARP_REPLY, self.mac, self.ip, arp.sender_mac, arp.sender_ip)
            ]
        echo = _parse_echo(frame)
        if echo is not None and (echo.kind, echo.target_mac, echo.target_ip) == (
            ECHO_REQUEST,
            self.mac,
            self.ip,
        ):
            self.echo_replies += 1
            return [
                _echo(
                    ECHO_REPLY,
                    self.mac,
                    self.ip,
                    echo.source_mac,
                    echo.source_ip,
                    echo.identifier,
                    echo.sequence,
                    echo.payload,
                )
            ]
        self.ignored += 1
        return []


@dataclass(frozen=True)
class _Arp:
    operation: int
    sender_mac: bytes
    sender_ip: bytes
    target_mac: bytes
    target_ip: bytes


@dataclass(frozen=True)
class _Echo:
    kind: int
    source_mac: bytes
    source_ip: bytes
    target_mac: bytes
    target_ip: bytes
    identifier: int
    sequence: int
    payload: bytes


def _frame(target: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    return (ETHERNET.pack(target, source, kind) + payload).ljust(SHORTEST_FRAME, b"\0")


def _arp(
    destination: bytes, operation: int, mac: bytes, ip: bytes, target_mac: bytes, target_ip: bytes
) -> bytes:
    body = ARP.pack(*ARP_FOR_IPV4, operation, mac, ip, target_mac, target_ip)
    return _frame(destination, mac, TYPE_ARP, body)


def _parse_arp(frame: bytes) -> _Arp | None:
    if len(frame) < ETHERNET.size + ARP.size:
        return None
    if ETHERNET.unpack_from(frame)[2] != TYPE_ARP:
        return None
    fields = ARP.unpack_from(frame, ETHERNET.size)
    return _Arp(*fields[4:]) if fields[:4] == ARP_FOR_IPV4 else None


def _echo(
    kind: int,
    mac: bytes,
    ip: bytes,
    target_mac: bytes,
    target_ip: bytes,
    identifier: int,
    sequence: int,
    payload: bytes,
) -> bytes:
    message = ICMP_ECHO.pack(kind, 0, 0, identifier, sequence) + payload
    message = ICMP_ECHO.pack(kind, 0, checksum(message), identifier, sequence) + payload

    def header(check: int) -> bytes:
        total = IPV4.size + len(message)
        return IPV4.pack(
            0x45, 0, total, 0, DONT_FRAGMENT, TIME_TO_LIVE, PROTOCOL_ICMP, check, ip, target_ip
        )

    return _frame(target_mac, mac, TYPE_IPV4, header(checksum(header(0))) + message)


def _parse_echo(frame: bytes) -> _Echo | None:
    """Parse an ICMP echo request or reply in a complete, valid, unfragmented frame."""
    if len(frame) < ETHERNET.size + IPV4.size:
        return None
    target_mac, source_mac, kind = ETHERNET.unpack_from(frame)
    packet = frame[ETHERNET.size :]
    version, _, total, _, fragment, _, protocol, _, source, target = IPV4.unpack_from(packet)
    header = 4 * (version & 0xF)
    if (
        kind != TYPE_IPV4
        or version >> 4 != 4
        or header < IPV4.size
        or not header + ICMP_ECHO.size <= total <= len(packet)
        or checksum(packet[:header])
        or fragment & ~DONT_FRAGMENT
        or protocol != PROTOCOL_ICMP
    ):
        return None
    message = packet[header:total]
    echo, code, _, identifier, sequence = ICMP_ECHO.unpack_from(message)
    if code or echo not in (ECHO_REPLY, ECHO_REQUEST) or checksum(message):
        return None
    payload = message[ICMP_ECHO.size :]
    return _Echo(echo, source_mac, source, target_mac, target, identifier, sequence, payload)
