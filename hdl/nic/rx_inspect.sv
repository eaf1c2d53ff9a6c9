// What is found out about received frames, kept beside the receive buffer: for each stored frame what
// decides where it goes (info), and the checksum verdicts, which come a little later.

`default_nettype none

module rx_inspect
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int Depth = 512,  // frames in the buffer
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic              clk,
    input  wire logic              rst,
    input  wire logic [30:0]       now,  // ns

    input  wire logic [7:0]        cfg_default_queue,
    input  wire logic [2:0]        cfg_rss_ipv4,
    input  wire logic [2:0]        cfg_rss_ipv6,
    input  wire logic [319:0]      cfg_rss_key,
    output      logic [6:0]        table_index,
    input  wire logic [3:0]        table_queue,

    // the frame as it comes from the MAC
    input  wire logic [63:0]       s_axis_tdata,
    input  wire logic [7:0]        s_axis_tkeep,
    input  wire logic              s_axis_tvalid,
    input  wire logic              s_axis_tlast,
    input  wire logic              s_axis_stripped,  // vlan_strip's

    // what the buffer did with it
    input  wire logic              ended,
    input  wire logic              stored,

    output      logic              info_valid,
    output      logic [QueueW-1:0] info_queue,
    output      logic [7:0]        info_header_len,  // in the buffer; 0: no split
    output      rx_cpl_t           info_entry,       // what all its completions share
    output      logic              verdict_valid,
    output      logic [2:0]        verdict,          // {IPv4 ok, L4 ok, L4 bad}
    input  wire logic              info_end,         // done with that of the frame at the head
    input  wire logic              verdict_end,

    output      logic              busy
);

    localparam logic [7:0] TagBytes = 8'd4;

    logic steer_valid, stripped, found_valid, ip_ok, l4_ok, l4_bad;
    logic [QueueW-1:0] steer_queue;
    logic [31:0] steer_hash;
    hash_type_e steer_hash_type;
    logic [7:0] steer_header_len, header_len;
    logic [15:0] tci;
    logic [30:0] steer_stamp;
    logic parser_busy, info_busy, verdict_busy;

    rx_parser #(.Queues(Queues)) u_parser (
        .clk, .rst, .now, .cfg_default_queue, .cfg_rss_ipv4, .cfg_rss_ipv6, .cfg_rss_key,
        .table_index, .table_queue,
        .s_axis_tdata, .s_axis_tkeep, .s_axis_tvalid, .s_axis_tlast, .s_axis_stripped,
        .steer_valid, .steer_queue, .steer_hash, .steer_hash_type, .steer_header_len,
        .steer_stripped(stripped), .steer_tci(tci), .steer_stamp,
        .verdict_valid(found_valid), .verdict_ip_ok(ip_ok), .verdict_l4_ok(l4_ok),
        .verdict_l4_bad(l4_bad), .busy(parser_busy)
    );

    // The headers are shorter in the buffer by the tag that was taken out.
    assign header_len = stripped && steer_header_len != 8'd0 ? steer_header_len - TagBytes
        : steer_header_len;

    localparam int InfoW = QueueW + 8 + 1 + 16 + 2 + 32 + 31;

    logic [InfoW-1:0] info;
    logic [1:0]       hash_type;

    rx_info #(.Width(InfoW), .Depth(Depth)) u_info (
        .clk, .rst, .ended, .stored, .value_valid(steer_valid),
        .value({steer_queue, header_len, stripped, tci, steer_hash_type, steer_hash, steer_stamp}),
        .m_valid(info_valid), .m_ready(info_end), .m_value(info), .busy(info_busy)
    );

    // Verdicts leave later than the rest.
    rx_info #(.Width(3), .Depth(2 * Depth)) u_verdict (
        .clk, .rst, .ended, .stored, .value_valid(found_valid), .value({ip_ok, l4_ok, l4_bad}),
        .m_valid(verdict_valid), .m_ready(verdict_end), .m_value(verdict), .busy(verdict_busy)
    );

    always_comb begin
        info_entry = '0;
        {info_queue, info_header_len, info_entry.vlan_stripped, info_entry.vlan_tci, hash_type,
         info_entry.hash, info_entry.timestamp} = info;
        case (hash_type)
            2'd1:    info_entry.hash_type = HASH_TYPE_ADDRESSES;
            2'd2:    info_entry.hash_type = HASH_TYPE_TCP;
            2'd3:    info_entry.hash_type = HASH_TYPE_UDP;
            default: info_entry.hash_type = HASH_TYPE_NONE;
        endcase
    end

    assign busy = parser_busy || info_busy || verdict_busy;

endmodule

`default_nettype wire
