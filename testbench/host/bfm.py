# SPDX-License-Identifier: BSD-2-Clause
"""Bus functional models for the ports of the two tops: thin, fast, event-driven.

:class:`EndpointBfm` drives one raw TLP stream in and one out, with a minimal enumeration of the
function. :class:`CoreBfm` replaces a vendor's hard block: its requests carry the matching BAR, and
it drives the configuration pins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from models.config_space import (
    size_code,
)
from models.layout import SharedLayout
from models.shell import PciShell

from ..hard_block.confirmer import WRITES, Confirmer
from ..stream.tlp import TlpPacket, TlpSink, TlpSource
from ..tlp import Tlp, error_code, pcie_id
from ..tlp.monitor import bundles_of
from .endpoint import MEMORY_WINDOW, EndpointHost
from .thin import TlpHost


class EndpointBfm(EndpointHost):
    """Host side of ``rx_tlp`` and ``tx_tlp``.

    Parameters
    ----------
    dut
        The design's top.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``.
    rx, tx
        Prefixes of the bundles into and out of the design.
    idle, stall
        Idle cycles on the way in and back-pressure on the way out (:mod:`testbench.stream.pacing`).
    **options
        As :class:`~testbench.host.endpoint.EndpointHost`.

    Attributes
    ----------
    source, sink
        The streams; change their pacing here.
    sinks
        The sink by prefix, in the same form as :attr:`CoreBfm.sinks`.
    """

    def __init__(
        self,
        dut: Any,
        *,
        clk: Any = None,
        reset: Any = None,
        rx: str = "rx_tlp",
        tx: str = "tx_tlp",
        idle: Iterable[int] | None = None,
        stall: Iterable[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.source = TlpSource(dut, rx, clk=clk, reset=reset, idle=idle)
        self.sink = TlpSink(
            dut,
            tx,
            clk=clk,
            reset=reset,
            stall=stall,
            on_packet=self.receive_packet,
        )
        self.sinks = {tx: self.sink}

    @property
    def pending(self) -> int:
        """As :attr:`EndpointHost.pending`."""
        return self.source.pending

    @property
    def received(self) -> int:
        """As :attr:`EndpointHost.received`."""
        return self.sink.received

    async def drained(self) -> None:
        """As :meth:`EndpointHost.drained`."""
        await self.source.drained()

    def sink_of(self, bundle: str) -> TlpSink:
        """The sink that receives the packets of a core's ``bundle``: the only one."""
        return self.sink

    def send_nowait(self, tlp: Tlp, *, bar: int = 0) -> None:
        """Queue a packet unchanged; the raw stream does not carry ``bar``."""
        self.source.send_nowait(TlpPacket(tlp))

    async def send(self, tlp: Tlp, *, bar: int = 0) -> None:
        """As :meth:`send_nowait`; return when the design has accepted the packet."""
        await self.source.send(TlpPacket(tlp))


class CoreBfm(TlpHost):
    """Replaces the hard block in front of ``amp_pci_core``.

    Parameters
    ----------
    dut
        The design's top.
    shell, layout
        Define the BARs and their sizes.
    clk, reset
        Handles; the default is ``dut.clk`` and, if it exists, ``dut.rst``.
    idle, stall
        As :class:`EndpointBfm`, for requests to the design and completions from it.
    completion_idle
        Idle cycles before the beats of completions to the design.
    read_stall, write_stall
        Back-pressure on the design's reads and writes.
    confirmation_delay
        Cycles until a write has left the hard block, for a design that waits for this confirmation.
    device_id
        16 bits for ``completer_id`` and ``requester_id``.
    **options
        As :class:`~testbench.host.thin.TlpHost`.

    Attributes
    ----------
    source
        Requests to the design.
    completion_source
        Completions to the design.
    completion_error
        Returns the error code of a completion to the design; the default is :func:`error_code`.
    sinks
        Streams from the design, by prefix.
    confirmer
        Confirms the design's writes, ``None`` for a design without this port.
    """

    def __init__(
        self,
        dut: Any,
        *,
        shell: PciShell,
        layout: SharedLayout,
        clk: Any = None,
        reset: Any = None,
        idle: Iterable[int] | None = None,
        stall: Iterable[int] | None = None,
        completion_idle: Iterable[int] | None = None,
        read_stall: Iterable[int] | None = None,
        write_stall: Iterable[int] | None = None,
        confirmation_delay: Iterable[int] | None = None,
        device_id: int = pcie_id(0x2A, 0),
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.dut = dut
        self.shell = shell
        self.device_id = device_id
        address = MEMORY_WINDOW
        for bar, size in shell.bar_sizes(self.num_fifos, layout).items():
            address = (address + size - 1) & -size
            self.bars[bar] = address
            address += size
        self.source = TlpSource(dut, "rx_req_tlp", clk=clk, reset=reset, idle=idle)
        stalls = {
            "tx_cpl_tlp": stall,
            "tx_msix_wr_req_tlp": None,
            "tx_rd_req_tlp": read_stall,
            "tx_wr_req_tlp": write_stall,
        }
        self.sinks = {
            prefix: TlpSink(
                dut,
                prefix,
                clk=clk,
                reset=reset,
                stall=stalls[prefix],
                on_packet=self.receive_packet,
            )
            for prefix in bundles_of(dut)
        }
        self.confirmer = Confirmer.attach(
            dut, self.sinks, clk=clk, reset=reset, delays=confirmation_delay
        )
        self.completion_source = TlpSource(
            dut, "rx_cpl_tlp", clk=clk, reset=reset, idle=completion_idle
        )
        self.completion_error: Callable[[Tlp], int] = error_code
        self.set_pins(
            completer_id=device_id,
            requester_id=device_id,
            max_payload_size=size_code(self.max_payload_size),
            max_read_request_size=size_code(self.max_read_request_size),
            rcb_128b=int(self.memory.read_completion_boundary == 128),
            ext_tag_enable=int(self.extended_tags),
            bus_master_enable=0,
            msix_enable=0,
            msix_mask=0,
            function_reset=0,
            msix_refused=0,
        )

    def sink_of(self, bundle: str) -> TlpSink:
        """The sink of ``bundle``, or of the writes if the design has no such bundle."""
        return self.sinks.get(bundle) or self.sinks[WRITES]

    def set_pins(self, **values: int) -> None:
        """Drive configuration pins by name; names without a port are ignored."""
        for name, value in values.items():
            handle = getattr(self.dut, name, None)
            if handle is not None:
                handle.value = value

    def send_nowait(self, tlp: Tlp, *, bar: int = 0) -> None:
        """Queue a packet unchanged, with ``bar`` as the matching BAR."""
        self.source.send_nowait(TlpPacket(tlp, bar_id=bar))

    async def send(self, tlp: Tlp, *, bar: int = 0) -> None:
        """As :meth:`send_nowait`; return when the design has accepted the packet."""
        await self.source.send(TlpPacket(tlp, bar_id=bar))

    def complete_nowait(self, tlp: Tlp) -> None:
        """Queue a completion of one of the design's requests, unchanged."""
        self.completion_source.send_nowait(TlpPacket(tlp, error=self.completion_error(tlp)))

    async def start(self, *, msix: bool = True, bus_master: bool = True) -> None:
        """Set Bus Master Enable; write the MSI-X table and enable MSI-X."""
        self.set_pins(bus_master_enable=int(bus_master))
        if msix:
            vectors = self.shell.num_vectors(self.num_fifos)
            await self.write_msix_table(self.shell.msix_bar, self.shell.msix_table_offset, vectors)
            self.set_pins(msix_enable=1)

    async def restore(self) -> None:
        """Write the MSI-X table again after a reset; enable bus mastering and MSI-X."""
        table = self.msix_table(self.shell.num_vectors(self.num_fifos))
        await self.bar_write(self.shell.msix_bar, self.shell.msix_table_offset, table)
        self.set_pins(bus_master_enable=1, msix_enable=1)
