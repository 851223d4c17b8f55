# SPDX-License-Identifier: BSD-2-Clause
"""User interface of the 7 series' integrated block for PCI Express.

Source: PG054. The streams carry complete TLPs, dwords in order, with the first byte of a dword in
its most significant bits. At 128 bits a packet may start in the upper half of a beat whose lower
half ends the previous packet. The block implements configuration space and outputs it on pins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import Any

import cocotb
from cocotb.triggers import Event
from cocotbext.axi import AxiStreamBus, AxiStreamSink
from cocotbext.pcie.core.device import Device
from cocotbext.pcie.core.tlp import Tlp, TlpType
from cocotbext.pcie.xilinx.us import UltraScalePlusPcieFunction

COMPLETIONS = (TlpType.CPL, TlpType.CPL_DATA, TlpType.CPL_LOCKED, TlpType.CPL_LOCKED_DATA)
CONFIGURATION = (TlpType.CFG_READ_0, TlpType.CFG_WRITE_0)
BAR_HIT, BEGINS, ENDS = 2, 10, 17
PRESENT = 1 << 4
HALF = 2
"""Dwords of half a beat of 128 bits."""
TX_QUEUE = 4
"""Packets that may wait for the link."""

COMPLETION_HEADERS, COMPLETION_CREDITS = 36, 154
"""Receive buffer for completions: headers, and units of 16 bytes of data, at performance level High
with payloads of up to 256 bytes (PG054, completion space)."""


def to_dwords(tlp: bytes) -> list[int]:
    """Dwords of a TLP, each with its first byte in the most significant bits."""
    return [int.from_bytes(tlp[index : index + 4], "big") for index in range(0, len(tlp), 4)]


def to_tlp(beats: bytes) -> bytes:
    """TLP of a frame, whose lanes have the bytes of each dword in reverse order."""
    return b"".join(beats[index : index + 4][::-1] for index in range(0, len(beats), 4))


class Series7Receiver:
    """Drives ``m_axis_rx``.

    Parameters
    ----------
    dut
        The design's top.
    clk
        Handle.
    """

    def __init__(self, dut: Any, *, clk: Any) -> None:
        self._pins = {
            name: getattr(dut, f"m_axis_rx_{name}")
            for name in ("tdata", "tkeep", "tlast", "tvalid", "tuser")
        }
        self._ready = dut.m_axis_rx_tready
        self._clk = clk
        self._lanes = len(self._pins["tdata"]) // 32
        self._queue: deque[tuple[list[int], int, Any]] = deque()
        self._arrived = Event()
        self._pauses: Iterator[bool] = repeat(False)
        for pin in self._pins.values():
            pin.value = 0
        cocotb.start_soon(self._run())

    def set_pause_generator(self, pauses: Iterable[bool]) -> None:
        """Replace the pauses: before a beat, a cycle passes for each true value."""
        self._pauses = iter(pauses)

    def put(self, dwords: list[int], bar: int | None, accepted: Any) -> None:
        """Queue a packet with matching BAR ``bar``; call ``accepted`` when it is accepted."""
        self._queue.append((dwords, 0 if bar is None else 1 << bar, accepted))
        self._arrived.set()

    def _beats(self) -> Iterator[tuple[dict[str, int], list[Any]]]:
        """Yield beats until the queue is empty, each with functions to call when accepted."""
        straddles = self._lanes == 4
        straddling: list[tuple[list[int], int, Any, int]] = []
        while self._queue or straddling:
            if straddling:
                dwords, hits, accepted, index = straddling.pop()
            else:
                dwords, hits, accepted = self._queue.popleft()
                index = 0
            while index < len(dwords):
                user = 0
                if index == 0:
                    user |= hits << BAR_HIT
                    if straddles:
                        user |= PRESENT << BEGINS
                piece = dwords[index : index + self._lanes]
                lanes = len(piece)
                index += lanes
                data = sum(dword << 32 * lane for lane, dword in enumerate(piece))
                last = index == len(dwords)
                done = []
                if last:
                    done.append(accepted)
                    if straddles:
                        user |= (PRESENT | 4 * lanes - 1) << ENDS
                        if lanes <= HALF and self._queue:
                            # Straddle: the next packet starts in the upper half.
                            following, its_hits, its_accepted = self._queue.popleft()
                            for place, dword in enumerate(following[:HALF]):
                                data |= dword << 32 * (HALF + place)
                            user |= its_hits << BAR_HIT | (PRESENT | 4 * HALF) << BEGINS
                            straddling.append((following, its_hits, its_accepted, HALF))
                keep = (1 << 4 * lanes) - 1
                yield {"tdata": data, "tkeep": keep, "tlast": last, "tuser": user}, done

    async def _run(self) -> None:
        edge = self._clk.rising_edge
        while True:
            if not self._queue:
                self._pins["tvalid"].value = 0
                self._arrived.clear()
                await self._arrived.wait()
                await edge
            for beat, done in self._beats():
                while next(self._pauses, False):
                    self._pins["tvalid"].value = 0
                    await edge
                for name, value in beat.items():
                    self._pins[name].value = int(value)
                self._pins["tvalid"].value = 1
                await edge
                while self._ready.value != "1":
                    await edge
                for accepted in done:
                    accepted()


class Series7Device(Device):
    """The block on a simulated link. It drops completions that exceed its receive buffer.

    Parameters
    ----------
    dut
        The design's top.
    clk, reset
        Handles.
    msix
        Number of vectors, BAR and offset of the table, BAR and offset of the pending bits.

    Attributes
    ----------
    rx, tx
        The streams; change their pacing with ``set_pause_generator``.
    """

    def __init__(
        self, dut: Any, *, clk: Any, reset: Any, msix: tuple[int, int, int, int, int]
    ) -> None:
        super().__init__()
        self._dut = dut
        self.default_function = UltraScalePlusPcieFunction
        function = self.make_function()
        function.deregister_capability(function.msi_cap)
        table = function.msix_cap
        (
            vectors,
            table.msix_table_bar_indicator_register,
            table.msix_table_offset,
            table.msix_pba_bar_indicator_register,
            table.msix_pba_offset,
        ) = msix
        table.msix_table_size = vectors - 1
        function.pcie_cap.max_payload_size_supported = 3
        self._headers, self._credits = COMPLETION_HEADERS, COMPLETION_CREDITS
        self.rx = Series7Receiver(dut, clk=clk)
        self.tx = AxiStreamSink(AxiStreamBus.from_prefix(dut, "s_axis_tx"), clk, reset)
        self.tx.queue_occupancy_limit_frames = TX_QUEUE
        for name in ("cfg_received_func_lvl_rst", "cfg_to_turnoff"):
            getattr(dut, name).value = 0
        self.drive_pins()
        cocotb.start_soon(self._forward())

    async def upstream_recv(self, tlp: Any) -> None:
        """Accept a packet from the link; called by the link."""
        function = self.functions[0]
        if tlp.fmt_type in CONFIGURATION:
            self.bus_num = tlp.completer_id.bus
            # Update the pins before the completion of the write is sent.
            send = function.upstream_tx_handler
            function.upstream_tx_handler = self._updating_pins(send)
            await function.upstream_recv(tlp)
            function.upstream_tx_handler = send
            return
        if tlp.fmt_type in COMPLETIONS:
            self._complete(tlp)
            return
        bar = function.match_bar(tlp.address)
        if bar:
            self.rx.put(to_dwords(bytes(tlp.pack())), bar[0], tlp.release_fc)
            return
        tlp.release_fc()
        if tlp.fmt_type in (TlpType.MEM_READ, TlpType.MEM_READ_64):
            await self.upstream_send(Tlp.create_ur_completion_for_tlp(tlp, function.pcie_id))

    def _complete(self, tlp: Any) -> None:
        headers, credits = self._headers - 1, self._credits - tlp.get_data_credits()
        if headers < 0 or credits < 0:
            self._dut._log.warning("receive buffer full: completion dropped")
            tlp.release_fc()
            return
        self._headers, self._credits = headers, credits

        def accepted() -> None:
            self._headers += 1
            self._credits += tlp.get_data_credits()
            tlp.release_fc()

        self.rx.put(to_dwords(bytes(tlp.pack())), None, accepted)

    def _updating_pins(self, send_completion: Any) -> Any:
        async def send(tlp: Any) -> None:
            self.drive_pins()
            await send_completion(tlp)

        return send

    def drive_pins(self) -> None:
        """Drive the configuration space pins."""
        function, dut = self.functions[0], self._dut
        capability = function.pcie_cap
        control = (
            capability.max_payload_size << 5
            | capability.extended_tag_field_enable << 8
            | capability.max_read_request_size << 12
        )
        for name, value in {
            "cfg_bus_number": self.bus_num,
            "cfg_device_number": 0,
            "cfg_function_number": 0,
            "cfg_command": function.memory_space_enable << 1 | function.bus_master_enable << 2,
            "cfg_dcommand": control,
            "cfg_lcommand": capability.read_completion_boundary << 3,
            "cfg_interrupt_msixenable": function.msix_cap.msix_enable,
            "cfg_interrupt_msixfm": function.msix_cap.msix_function_mask,
        }.items():
            getattr(dut, name).value = int(value)

    async def _forward(self) -> None:
        while True:
            frame = await self.tx.recv()
            await self.send(Tlp.unpack(to_tlp(bytes(frame.tdata))))
