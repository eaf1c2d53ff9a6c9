// Reads the headers of received frames as they pass, beside the store into the buffer: RSS hash and
// queue, VLAN tag, length of the headers, checksum verdicts.  It delays no beat and drops no frame:
// for every frame there is one `steer` and one `verdict`.
//
//   beats -> l3_align -> ip_parser -> toeplitz -> table -> steer      (as soon as the headers are in)
//                           '-> l4_header '-> csum_check -> verdict   (nine clocks after the frame)
//
// The beats of a frame come without a gap; between frames is one clock or more.

`default_nettype none

module rx_parser
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic              clk,
    input  wire logic              rst,

    input  wire logic [30:0]       now,           // ns
    input  wire logic [7:0]        cfg_default_queue,
    input  wire logic [2:0]        cfg_rss_ipv4,  // hash {UDP ports, TCP ports, addresses}
    input  wire logic [2:0]        cfg_rss_ipv6,
    input  wire logic [319:0]      cfg_rss_key,
    output      logic [6:0]        table_index,   // into the indirection table
    input  wire logic [3:0]        table_queue,

    input  wire logic [63:0]       s_axis_tdata,
    input  wire logic [7:0]        s_axis_tkeep,
    input  wire logic              s_axis_tvalid,
    input  wire logic              s_axis_tlast,
    input  wire logic              s_axis_stripped,   // vlan_strip's, of this frame

    output      logic              steer_valid,
    output      logic [QueueW-1:0] steer_queue,
    output      logic [31:0]       steer_hash,
    output      hash_type_e        steer_hash_type,
    output      logic [7:0]        steer_header_len,  // with payload behind, else 0
    output      logic              steer_stripped,    // the tag was taken out
    output      logic [15:0]       steer_tci,         // of that tag, else 0
    output      logic [30:0]       steer_stamp,       // the clock at the frame's first beat

    output      logic              verdict_valid,
    output      logic              verdict_ip_ok,
    output      logic              verdict_l4_ok,
    output      logic              verdict_l4_bad,

    output      logic              busy
);

    // ---- headers

    logic word_valid, word_first, word_last, word_ipv4, word_ipv6;
    logic [63:0] word_data;
    logic [3:0] word_bytes;
    logic [4:0] word_offset;
    logic [15:0] word_tci;
    logic align_busy, parser_busy, check_busy;

    l3_align u_align (
        .clk, .rst, .s_axis_tdata, .s_axis_tkeep, .s_axis_tvalid, .s_axis_tlast,
        .word_valid, .word_first, .word_last, .word_data, .word_bytes, .word_ipv4, .word_ipv6,
        .word_offset, .word_tci, .busy(align_busy)
    );

    logic part_valid, part_first, part_last, tuple_end, ip_whole, ipv6, cut;
    logic [63:0] part_ip, part_l4, part_data;
    logic [1:0] tuple_use;
    logic [1:0][3:0] tuple_column;
    hash_type_e tuple_type;
    logic start_low, start_high, start_tcp;
    logic [15:0] start_len;
    logic [7:0] start_offset, header_len;

    ip_parser u_ip (
        .clk, .rst, .cfg_rss_ipv4, .cfg_rss_ipv6,
        .word_valid, .word_first, .word_last, .word_data, .word_bytes, .word_ipv4, .word_ipv6,
        .word_offset,
        .part_valid, .part_first, .part_ip, .part_l4, .part_data, .tuple_use, .tuple_column,
        .tuple_end, .tuple_type, .start_low, .start_high, .start_len, .start_offset, .start_tcp,
        .part_last, .ip_whole, .ipv6, .cut, .busy(parser_busy)
    );

    logic l4_whole, l4_unsummed, l4_tcp;
    logic [15:0] l4_len;

    l4_header u_l4 (
        .clk, .rst, .word_valid, .word_first, .word_data,
        .start_low, .start_high, .start_len, .start_offset, .start_tcp,
        .part_last, .cut, .whole(l4_whole), .unsummed(l4_unsummed), .tcp(l4_tcp), .len(l4_len),
        .header_len
    );

    // ---- verdict

    csum_check u_check (
        .clk, .rst, .part_valid, .part_first, .part_last, .part_ip, .part_l4,
        .ip_whole, .l4_whole, .l4_unsummed, .l4_tcp, .ipv6, .l4_len,
        .verdict_valid, .ip_ok(verdict_ip_ok), .l4_ok(verdict_l4_ok), .l4_bad(verdict_l4_bad),
        .busy(check_busy)
    );

    // ---- hash and queue: three clocks after the tuple was complete the hash is there

    logic [31:0]       hash;
    logic [2:0]        ends_q;
    logic [2:0][1:0]   types_q;
    logic [QueueW-1:0] queue_id;
    logic              stripped_q;
    logic [15:0]       tci_q;
    logic              inside_q;   // past the first beat
    logic [30:0]       beat_stamp_q, stamp_q;
    logic              awake;

    toeplitz u_hash (
        .clk, .rst, .cfg_key(cfg_rss_key), .first(part_first), .use_column(tuple_use),
        .column(tuple_column), .data(part_data), .hash
    );

    assign table_index = hash[6:0];

    rx_steer #(.Queues(Queues)) u_steer (
        .cfg_default_queue, .hashed(types_q[2] != HASH_TYPE_NONE), .table_queue, .queue_id
    );

    always_ff @(posedge clk) begin
        if (s_axis_tvalid || rst) begin
            if (!inside_q) beat_stamp_q <= now;
            inside_q <= s_axis_tvalid && !s_axis_tlast && !rst;
        end
    end

    assign awake = tuple_end || ends_q != '0 || part_first || steer_valid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            ends_q  <= {ends_q[1:0], tuple_end};
            types_q <= {types_q[1:0], tuple_type};
            // A clock after word_first: in that, the frame before may still have to be told of.
            if (part_first) begin
                stripped_q <= s_axis_stripped;
                tci_q      <= s_axis_stripped ? word_tci : 16'd0;
                stamp_q    <= beat_stamp_q;
            end
            steer_valid <= ends_q[2];
            if (ends_q[2]) begin
                steer_queue      <= queue_id;
                steer_hash       <= types_q[2] != HASH_TYPE_NONE ? hash : 32'd0;
                steer_header_len <= header_len;
                steer_stripped   <= stripped_q;
                steer_tci        <= tci_q;
                steer_stamp      <= stamp_q;
                case (types_q[2])
                    2'd1:    steer_hash_type <= HASH_TYPE_ADDRESSES;
                    2'd2:    steer_hash_type <= HASH_TYPE_TCP;
                    2'd3:    steer_hash_type <= HASH_TYPE_UDP;
                    default: steer_hash_type <= HASH_TYPE_NONE;
                endcase
            end
            if (rst) begin
                ends_q      <= '0;
                steer_valid <= 1'b0;
            end
        end
    end

    // The verdict comes later than all else.
    assign busy = align_busy || parser_busy || check_busy;

endmodule

`default_nettype wire
