// The checksum verdicts on a frame: its IPv4 header, and TCP or UDP with the pseudo header.  What of
// a frame belongs to which sum is ip_parser's business.

`default_nettype none

module csum_check (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic        part_valid,
    input  wire logic        part_first,
    input  wire logic        part_last,
    input  wire logic [63:0] part_ip,      // zero where it does not belong
    input  wire logic [63:0] part_l4,

    // with part_last
    input  wire logic        ip_whole,
    input  wire logic        l4_tcp,
    input  wire logic [15:0] l4_len,

    // a clock later
    input  wire logic        l4_whole,
    input  wire logic        l4_unsummed,  // UDP with checksum 0
    input  wire logic        ipv6,

    // one clock a frame, five after its last part
    output      logic        verdict_valid,
    output      logic        ip_ok,
    output      logic        l4_ok,
    output      logic        l4_bad,

    output      logic        busy
);

    localparam logic [15:0] Tcp = 16'h0600;  // protocol numbers, swapped
    localparam logic [15:0] Udp = 16'h1100;

    logic [4:0]      end_q;                     // a frame in each stage
    logic [4:0]      whole_q;                   // IPv4 header
    logic [4:1]      judged_q, bad_q;           // L4; bad without a sum
    logic [16:0]     addend_q;
    logic            awake, ip_ones, l4_ones;

    assign awake = part_last || end_q != '0 || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            end_q    <= {end_q[3:0], part_last};
            whole_q  <= {whole_q[3:0], ip_whole};
            judged_q <= {judged_q[3:1], l4_whole && !l4_unsummed};
            bad_q    <= {bad_q[3:1], l4_whole && l4_unsummed && ipv6};
            addend_q <= {1'b0, l4_len[7:0], l4_len[15:8]} + {1'b0, l4_tcp ? Tcp : Udp};
            if (rst) end_q <= '0;
        end
    end

    ones_sum u_ip (
        .clk, .valid(part_valid), .first(part_first), .part(part_ip), .awake, .addend(17'd0),
        .ones(ip_ones)
    );

    ones_sum u_l4 (
        .clk, .valid(part_valid), .first(part_first), .part(part_l4), .awake, .addend(addend_q),
        .ones(l4_ones)
    );

    assign verdict_valid = end_q[4];
    assign ip_ok         = whole_q[4] && ip_ones;
    assign l4_ok         = judged_q[4] && l4_ones;
    assign l4_bad        = (judged_q[4] && !l4_ones) || bad_q[4];
    assign busy          = end_q != '0;

endmodule

`default_nettype wire
