# SPDX-License-Identifier: BSD-2-Clause
"""Ports of the core, declared once."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from models.counters import COUNTERS

from .block_options import BlockOptions
from .dma.axi import AxiSignature
from .errors import ERRORS
from .msix import interrupt_signature
from .queues.message import message_signature
from .tlp import completion_signature, header_signature, raw_signature, request_signature

__all__ = ["CoreSignature", "device_members"]


def device_members(data_width: int, num_fifos: int, *, dma: bool) -> dict[str, wiring.Member]:
    """Members of the device side, the same for every top."""
    return {
        "m_axis_msg": Out(message_signature(data_width)),
        "s_axis_msg": In(message_signature(data_width)),
        **({"s_axi_dma": In(AxiSignature(data_width))} if dma else {}),
        "device_queue_ready": Out(num_fifos),
        "doorbell": Out(num_fifos),
        "host_reset": Out(1),
        **{counter.port: Out(counter.bits) for counter in COUNTERS},
    }


class CoreSignature(wiring.Signature):
    """Ports of :class:`~hdl.core.AmpPciCore`.

    Parameters
    ----------
    data_width, num_fifos, dma, block, own_config
        As in :class:`~hdl.core.AmpPciCore`.

    Attributes
    ----------
    rx_req_tlp : In(request_signature(data_width))
        Requests that a BAR matched.
    tx_cpl_tlp : Out(raw_signature(data_width))
        Completions.
    tx_rd_req_tlp : Out(header_signature())
        Memory reads. With ``dma``.
    tx_wr_req_tlp : Out(raw_signature(data_width))
        Memory writes: DMA writes, and MSI-X writes in order with them. With ``dma``. A message and
        its interrupt wait until the writes accepted before the message have departed: from this
        port or, with ``sequence_numbers``, from the hard block.
    tx_msix_wr_req_tlp : Out(interrupt_signature())
        MSI-X writes. With ``separate_msix`` or without ``dma``. The hazard is described in
        :class:`~hdl.block_options.BlockOptions`.
    wr_req_tx_seq_num_valid : In(2) at 512 bits, else In(1)
        One-cycle pulses, a bit for each TLP of ``tx_wr_req_tlp`` in their order: the TLP has
        departed from the hard block, and no later read or completion can pass it. With
        ``sequence_numbers``. A pulse may come before the TLP's last beat; it then counts with that
        beat. A pulse without a TLP is ignored. After
        :data:`~hdl.dma.confirmations.CONFIRMATIONS` TLPs without a pulse the next one stalls.
    msix_refused : In(1)
        One-cycle pulse, before the block accepts the next MSI-X write: it did not send the last
        one. The vector becomes pending again. With ``tx_msix_wr_req_tlp``.
    rx_cpl_tlp : In(completion_signature(data_width))
        Completions of memory reads; ``ready`` is always high. Unexpected ones are dropped.
    completer_id : In(16)
        Bus, device and function number for completions.
    requester_id : In(16)
        Bus, device and function number for requests.
    max_payload_size : In(3)
        Max_Payload_Size of Device Control.
    max_read_request_size : In(3)
        Max_Read_Request_Size of Device Control.
    rcb_128b : In(1)
        Ignored: a completion may be split at any boundary.
    ext_tag_enable : In(1)
        Ignored: 5-bit tags suffice.
    bus_master_enable : In(1)
        Bus Master Enable of the Command register.
    msix_enable : In(1)
        MSI-X Enable.
    msix_mask : In(1)
        MSI-X Function Mask.
    memory_space_enable : In(1)
        Memory Space Enable of the Command register. Only for ``status_config_settled``: requests
        are matched to BARs outside. With ``own_config``.
    completion_timeout_disable : In(1)
        Completion Timeout Disable of Device Control 2. With ``own_config``.
    rx_discard : In(1)
        With ``sop`` of a request or a completion: drop this TLP, which is malformed. None of its
        further beats follow. With ``own_config``.
    function_reset : In(1)
        Function-level reset, for one cycle or longer. It empties the queues, and clears and masks
        MSI-X. TLPs and packets in flight are completed, but a message in flight does not advance
        its index. Accesses to host memory in flight are answered with SLVERR.
    function_reset_done : Out(1)
        No TLP from before ``function_reset`` will depart, and MSI-X and queues are as after
        ``rst``. Low from the cycle after ``function_reset`` rises until then, and at least until a
        few cycles after it falls. With ``sequence_numbers`` it waits for the writes that the hard
        block holds.
    status_error_cor : Out(1)
        One-cycle pulse: an advisory error, see :data:`~hdl.errors.ERRORS`.
    status_error_uncor : Out(1)
        One-cycle pulse: an uncorrectable error, likewise.
    status_<cause> : Out(1)
        One-cycle pulse for each cause of :data:`~hdl.errors.ERRORS`.
    status_config_settled : Out(1)
        No TLP made to a former setting is inside: since ``max_payload_size``,
        ``max_read_request_size``, ``bus_master_enable``, ``msix_enable`` or
        ``memory_space_enable`` fell, ``msix_mask`` rose, or ``function_reset`` rose. Valid
        :data:`~models.config_space.SETTLING_CYCLES` cycles after the change. It depends only on
        ``ready`` of the outputs, never on an answer of the host or on the device side. Until it is
        high, at most these depart to the former settings: completions of earlier requests (16, and
        those of which a beat is queued), one read, and 2 KiB of writes whose data has come; with
        bus mastering off, one read, three writes and one interrupt.
    status_transactions_pending : Out(1)
        A memory read has departed and is neither completed nor timed out: Transactions Pending of
        Device Status.
    m_axis_msg : Out(message_signature(data_width))
        Messages, driver to device, each a 64-byte slot.
    s_axis_msg : In(message_signature(data_width))
        Messages, device to driver, 8 to 64 bytes each.
    s_axi_dma : In(AxiSignature(data_width))
        DMA window, see :class:`~hdl.dma.window.DmaWindow`. With ``dma``.
    device_queue_ready : Out(num_fifos)
        The device queue of the FIFO has space for one more message.
    doorbell : Out(num_fifos)
        Pulse for each doorbell write.
    host_reset : Out(1)
        Pulse: the host reset the function. A message in flight on ``m_axis_msg`` is from before the
        reset. A packet that is valid on ``s_axis_msg`` is dropped.
    count_<name> : Out
        Events since ``rst``, see :data:`models.counters.COUNTERS`.
    """

    def __init__(
        self, *, data_width: int, num_fifos: int, dma: bool, block: BlockOptions, own_config: bool
    ):
        members: dict[str, wiring.Member] = {
            "rx_req_tlp": In(request_signature(data_width)),
            "tx_cpl_tlp": Out(raw_signature(data_width)),
        }
        if not dma or block.separate_msix:
            members |= {
                "tx_msix_wr_req_tlp": Out(interrupt_signature()),
                "msix_refused": In(1),
            }
        if block.sequence_numbers:
            members["wr_req_tx_seq_num_valid"] = In(2 if data_width == 512 else 1)
        if dma:
            members |= {
                "tx_rd_req_tlp": Out(header_signature()),
                "tx_wr_req_tlp": Out(raw_signature(data_width)),
            }
        members |= {
            "rx_cpl_tlp": In(completion_signature(data_width)),
            "completer_id": In(16),
            "requester_id": In(16),
            "max_payload_size": In(3),
            "max_read_request_size": In(3),
            "rcb_128b": In(1),
            "ext_tag_enable": In(1),
        }
        if own_config:
            members |= {
                "completion_timeout_disable": In(1),
                "memory_space_enable": In(1),
                "rx_discard": In(1),
            }
        super().__init__(
            {
                **members,
                "bus_master_enable": In(1),
                "msix_enable": In(1),
                "msix_mask": In(1),
                "function_reset": In(1),
                "function_reset_done": Out(1, init=1),
                "status_error_cor": Out(1),
                "status_error_uncor": Out(1),
                **{f"status_{cause.name}": Out(1) for cause in ERRORS},
                "status_config_settled": Out(1, init=1),
                "status_transactions_pending": Out(1),
                **device_members(data_width, num_fifos, dma=dma),
            }
        )
