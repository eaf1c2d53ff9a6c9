// Looks at the header of TCP or UDP from where ip_parser says that it begins: how long all headers
// are, and whether the checksum of the packet may be judged.
//
//   begins in the lower column:   word 0: bytes 0 to 7     | 1: 8 to 15
//   begins in the upper column:   word 0: bytes 0 to 3     | 1: 4 to 11    | 2: 12 to 19

`default_nettype none

module l4_header (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic        word_valid,
    input  wire logic        word_first,
    input  wire logic [63:0] word_data,
    input  wire logic        start_low,
    input  wire logic        start_high,
    input  wire logic [15:0] start_len,
    input  wire logic [7:0]  start_offset,
    input  wire logic        start_tcp,

    // part_last of ip_parser; `tcp` and `len` are there with it, the others a clock later
    input  wire logic        part_last,
    input  wire logic        cut,
    output      logic        tcp,
    output      logic [15:0] len,          // bytes, header included
    output      logic        whole,        // complete and well formed
    output      logic        unsummed,     // UDP with checksum 0

    // four words after the start, until the next frame's first word
    output      logic [7:0]  header_len    // of all headers; 0: unknown, or no payload behind
);

    logic [1:0]  number_q;   // of the next word since the start, 3 at most; 0: not begun
    logic        high_q;
    logic [7:0]  offset_q;
    logic [15:0] udp_len_q;  // as it stands in the header
    logic        udp_zero_q;
    logic        known_q;
    logic [3:0]  words_q;    // header of L4 in units of 4 bytes

    logic        tcp_fits, udp_fits;  // 20 bytes or more; 8 or more, and as many as the header says

    assign tcp_fits = len[15:5] != '0 || (len[4] && len[3:2] != '0);
    assign udp_fits = len[15:3] != '0 && {udp_len_q[7:0], udp_len_q[15:8]} == len;

    always_ff @(posedge clk) begin
        if (word_valid || part_last || rst) begin
            if (start_low || start_high) begin
                number_q <= 2'd1;
                high_q   <= start_high;
                offset_q <= start_offset;
                len      <= start_len;
                tcp      <= start_tcp;
                words_q  <= 4'd2;
                known_q  <= !start_tcp;
            end else if (word_valid && number_q != 2'd0 && number_q != 2'd3) begin
                number_q <= number_q + 2'd1;
            end
            if (start_low) {udp_zero_q, udp_len_q} <= {word_data[63:48] == '0, word_data[47:32]};
            if (word_valid && number_q == 2'd1 && high_q)
                {udp_zero_q, udp_len_q} <= {word_data[31:16] == '0, word_data[15:0]};
            if (word_valid && tcp && number_q == (high_q ? 2'd2 : 2'd1)) begin
                words_q <= high_q ? word_data[7:4] : word_data[39:36];
                known_q <= 1'b1;
            end
            if (part_last) whole <= number_q != 2'd0 && !cut && (tcp ? tcp_fits : udp_fits);
            if (word_first) known_q <= 1'b0;
            if (word_first || part_last || rst) number_q <= 2'd0;
            if (rst) known_q <= 1'b0;
        end
    end

    assign unsummed = !tcp && udp_zero_q;

    assign header_len = known_q && offset_q != 8'd0 && (!tcp || words_q >= 4'd5)
        && len > {10'd0, words_q, 2'd0} ? offset_q + {2'd0, words_q, 2'd0} : 8'd0;

endmodule

`default_nettype wire
