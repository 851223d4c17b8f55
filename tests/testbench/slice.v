// SPDX-License-Identifier: BSD-2-Clause
// A register slice from rx_tlp to tx_tlp and from s_axis_msg to m_axis_msg, to test the testbench.
// `fault` injects an error:
//   1  tx_tlp_valid is deasserted after a beat has waited for one cycle
//   2  tx_tlp_data changes after a beat has waited for one cycle
//   3  m_axis_msg_tvalid is deasserted after a beat has waited for one cycle
//   4  m_axis_msg_tdest changes after a beat has waited for one cycle
//   5  tx_tlp_data is undefined (Icarus only)
`timescale 1ns / 1ps
module slice #(parameter W = 128) (
    input clk, input rst, input [2:0] fault,
    input [W-1:0] rx_tlp_data, input [W/32-1:0] rx_tlp_strb, input [127:0] rx_tlp_hdr,
    input rx_tlp_sop, input rx_tlp_eop, input rx_tlp_valid, output rx_tlp_ready,
    output [W-1:0] tx_tlp_data, output [W/32-1:0] tx_tlp_strb, output [127:0] tx_tlp_hdr,
    output tx_tlp_sop, output tx_tlp_eop, output tx_tlp_valid, input tx_tlp_ready,
    input [W-1:0] s_axis_msg_tdata, input [W/8-1:0] s_axis_msg_tkeep, input s_axis_msg_tlast,
    input [2:0] s_axis_msg_tdest, input s_axis_msg_tvalid, output s_axis_msg_tready,
    output [W-1:0] m_axis_msg_tdata, output [W/8-1:0] m_axis_msg_tkeep, output m_axis_msg_tlast,
    output [2:0] m_axis_msg_tdest, output m_axis_msg_tvalid, input m_axis_msg_tready
);
    reg tlp_full = 0, msg_full = 0, tlp_waited = 0, msg_waited = 0;
    reg [W+W/32+129:0] tlp = 0;
    reg [W+W/8+3:0] msg = 0;
    wire [W-1:0] data;
    wire [2:0] dest;

    assign rx_tlp_ready = !tlp_full || (tx_tlp_valid && tx_tlp_ready);
    assign tx_tlp_valid = tlp_full && !(fault == 1 && tlp_waited);
    assign {data, tx_tlp_strb, tx_tlp_hdr, tx_tlp_sop, tx_tlp_eop} = tlp;
    assign tx_tlp_data = fault == 5 ? {W{1'bx}} : data ^ (fault == 2 && tlp_waited);

    assign s_axis_msg_tready = !msg_full || (m_axis_msg_tvalid && m_axis_msg_tready);
    assign m_axis_msg_tvalid = msg_full && !(fault == 3 && msg_waited);
    assign {m_axis_msg_tdata, m_axis_msg_tkeep, m_axis_msg_tlast, dest} = msg;
    assign m_axis_msg_tdest = dest ^ (fault == 4 && msg_waited);

    always @(posedge clk) begin
        tlp_waited <= tx_tlp_valid && !tx_tlp_ready;
        msg_waited <= m_axis_msg_tvalid && !m_axis_msg_tready;
        if (rx_tlp_ready) begin
            tlp_full <= rx_tlp_valid;
            tlp <= {rx_tlp_data, rx_tlp_strb, rx_tlp_hdr, rx_tlp_sop, rx_tlp_eop};
        end
        if (s_axis_msg_tready) begin
            msg_full <= s_axis_msg_tvalid;
            msg <= {s_axis_msg_tdata, s_axis_msg_tkeep, s_axis_msg_tlast, s_axis_msg_tdest};
        end
        if (rst) begin
            tlp_full <= 0;
            msg_full <= 0;
        end
    end
endmodule
