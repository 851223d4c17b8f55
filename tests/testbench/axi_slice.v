// SPDX-License-Identifier: BSD-2-Clause
// Wires from s_axi_dma to m_axi, which connects to a memory model, to test the testbench. Responses
// are those of the memory, ORed with `bresp` and `rresp`. `hold` blocks the address channels.
`timescale 1ns / 1ps
module axi_slice #(parameter W = 128) (
    input clk, input rst, input hold, input [1:0] bresp, input [1:0] rresp,
    input [7:0] s_axi_dma_awid, input [63:0] s_axi_dma_awaddr, input [7:0] s_axi_dma_awlen,
    input [2:0] s_axi_dma_awsize, input [1:0] s_axi_dma_awburst, input s_axi_dma_awvalid,
    output s_axi_dma_awready, input [W-1:0] s_axi_dma_wdata, input [W/8-1:0] s_axi_dma_wstrb,
    input s_axi_dma_wlast, input s_axi_dma_wvalid, output s_axi_dma_wready,
    output [7:0] s_axi_dma_bid, output [1:0] s_axi_dma_bresp, output s_axi_dma_bvalid,
    input s_axi_dma_bready, input [7:0] s_axi_dma_arid, input [63:0] s_axi_dma_araddr,
    input [7:0] s_axi_dma_arlen, input [2:0] s_axi_dma_arsize, input [1:0] s_axi_dma_arburst,
    input s_axi_dma_arvalid, output s_axi_dma_arready, output [7:0] s_axi_dma_rid,
    output [W-1:0] s_axi_dma_rdata, output [1:0] s_axi_dma_rresp, output s_axi_dma_rlast,
    output s_axi_dma_rvalid, input s_axi_dma_rready,
    output [7:0] m_axi_awid, output [63:0] m_axi_awaddr, output [7:0] m_axi_awlen,
    output [2:0] m_axi_awsize, output [1:0] m_axi_awburst, output m_axi_awvalid,
    input m_axi_awready, output [W-1:0] m_axi_wdata, output [W/8-1:0] m_axi_wstrb,
    output m_axi_wlast, output m_axi_wvalid, input m_axi_wready, input [7:0] m_axi_bid,
    input [1:0] m_axi_bresp, input m_axi_bvalid, output m_axi_bready, output [7:0] m_axi_arid,
    output [63:0] m_axi_araddr, output [7:0] m_axi_arlen, output [2:0] m_axi_arsize,
    output [1:0] m_axi_arburst, output m_axi_arvalid, input m_axi_arready, input [7:0] m_axi_rid,
    input [W-1:0] m_axi_rdata, input [1:0] m_axi_rresp, input m_axi_rlast, input m_axi_rvalid,
    output m_axi_rready
);
    assign {m_axi_awid, m_axi_awaddr, m_axi_awlen, m_axi_awsize, m_axi_awburst} =
        {s_axi_dma_awid, s_axi_dma_awaddr, s_axi_dma_awlen, s_axi_dma_awsize, s_axi_dma_awburst};
    assign m_axi_awvalid = s_axi_dma_awvalid && !hold;
    assign s_axi_dma_awready = m_axi_awready && !hold;
    assign {m_axi_wdata, m_axi_wstrb, m_axi_wlast, m_axi_wvalid, m_axi_bready} =
        {s_axi_dma_wdata, s_axi_dma_wstrb, s_axi_dma_wlast, s_axi_dma_wvalid, s_axi_dma_bready};
    assign {s_axi_dma_wready, s_axi_dma_bid, s_axi_dma_bresp, s_axi_dma_bvalid} =
        {m_axi_wready, m_axi_bid, m_axi_bresp | bresp, m_axi_bvalid};
    assign {m_axi_arid, m_axi_araddr, m_axi_arlen, m_axi_arsize, m_axi_arburst} =
        {s_axi_dma_arid, s_axi_dma_araddr, s_axi_dma_arlen, s_axi_dma_arsize, s_axi_dma_arburst};
    assign m_axi_arvalid = s_axi_dma_arvalid && !hold;
    assign s_axi_dma_arready = m_axi_arready && !hold;
    assign {s_axi_dma_rid, s_axi_dma_rdata, s_axi_dma_rresp, s_axi_dma_rlast, s_axi_dma_rvalid} =
        {m_axi_rid, m_axi_rdata, m_axi_rresp | rresp, m_axi_rlast, m_axi_rvalid};
    assign m_axi_rready = s_axi_dma_rready;
endmodule
