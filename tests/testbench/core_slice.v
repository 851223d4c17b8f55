// SPDX-License-Identifier: BSD-2-Clause
// Replaces the core, to test the testbench: a request on rx_req_tlp is sent as the design's request
// on tx_rd_req_tlp or tx_wr_req_tlp, and its completions go from rx_cpl_tlp to tx_cpl_tlp, back to
// the requester.
`timescale 1ns / 1ps
module core_slice #(parameter W = 128) (
    input clk, input rst, input ext_tag_enable, input rcb_128b,
    input [W-1:0] rx_req_tlp_data, input [W/32-1:0] rx_req_tlp_strb, input [127:0] rx_req_tlp_hdr,
    input [2:0] rx_req_tlp_bar_id, input [7:0] rx_req_tlp_func_num,
    input rx_req_tlp_sop, input rx_req_tlp_eop, input rx_req_tlp_valid, output rx_req_tlp_ready,
    output [127:0] tx_rd_req_tlp_hdr, output tx_rd_req_tlp_sop, output tx_rd_req_tlp_eop,
    output tx_rd_req_tlp_valid, input tx_rd_req_tlp_ready,
    output [W-1:0] tx_wr_req_tlp_data, output [W/32-1:0] tx_wr_req_tlp_strb,
    output [127:0] tx_wr_req_tlp_hdr, output tx_wr_req_tlp_sop, output tx_wr_req_tlp_eop,
    output tx_wr_req_tlp_valid, input tx_wr_req_tlp_ready,
    input [W-1:0] rx_cpl_tlp_data, input [W/32-1:0] rx_cpl_tlp_strb, input [127:0] rx_cpl_tlp_hdr,
    input [3:0] rx_cpl_tlp_error,
    input rx_cpl_tlp_sop, input rx_cpl_tlp_eop, input rx_cpl_tlp_valid, output rx_cpl_tlp_ready,
    output [31:0] tx_msix_wr_req_tlp_data, output tx_msix_wr_req_tlp_strb,
    output [127:0] tx_msix_wr_req_tlp_hdr, output tx_msix_wr_req_tlp_sop,
    output tx_msix_wr_req_tlp_eop, output tx_msix_wr_req_tlp_valid, input tx_msix_wr_req_tlp_ready,
    output [W-1:0] tx_cpl_tlp_data, output [W/32-1:0] tx_cpl_tlp_strb, output [127:0] tx_cpl_tlp_hdr,
    output tx_cpl_tlp_sop, output tx_cpl_tlp_eop, output tx_cpl_tlp_valid, input tx_cpl_tlp_ready
);
    assign {tx_msix_wr_req_tlp_data, tx_msix_wr_req_tlp_strb, tx_msix_wr_req_tlp_hdr} = 161'b0;
    assign {tx_msix_wr_req_tlp_sop, tx_msix_wr_req_tlp_eop, tx_msix_wr_req_tlp_valid} = 3'b0;
    // Bit 126 is the header's "with data". The source repeats the header on every beat.
    wire write = rx_req_tlp_hdr[126];
    assign rx_req_tlp_ready = write ? tx_wr_req_tlp_ready : tx_rd_req_tlp_ready;
    assign tx_rd_req_tlp_valid = rx_req_tlp_valid && !write;
    assign tx_wr_req_tlp_valid = rx_req_tlp_valid && write;
    assign {tx_rd_req_tlp_hdr, tx_rd_req_tlp_sop, tx_rd_req_tlp_eop} =
        {rx_req_tlp_hdr, rx_req_tlp_sop, rx_req_tlp_eop};
    assign {tx_wr_req_tlp_data, tx_wr_req_tlp_strb} = {rx_req_tlp_data, rx_req_tlp_strb};
    assign {tx_wr_req_tlp_hdr, tx_wr_req_tlp_sop, tx_wr_req_tlp_eop} =
        {rx_req_tlp_hdr, rx_req_tlp_sop, rx_req_tlp_eop};
    assign rx_cpl_tlp_ready = tx_cpl_tlp_ready;
    assign {tx_cpl_tlp_data, tx_cpl_tlp_strb, tx_cpl_tlp_hdr} =
        {rx_cpl_tlp_data, rx_cpl_tlp_strb, rx_cpl_tlp_hdr};
    assign {tx_cpl_tlp_sop, tx_cpl_tlp_eop, tx_cpl_tlp_valid} =
        {rx_cpl_tlp_sop, rx_cpl_tlp_eop, rx_cpl_tlp_valid};
endmodule
