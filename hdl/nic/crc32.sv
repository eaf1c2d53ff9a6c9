// The CRC register of one direction: takes eight bytes a clock, the first in data[7:0].  The CRC
// is linear, so each nibble picks a word of its own table and their XOR is the next register: one
// LUT a bit and nibble in hardware, and sixteen look-ups in simulation.  It knows no frames.

`default_nettype none

module crc32 (
    input  wire logic        clk,
    input  wire logic        valid,
    input  wire logic        first,  // with valid: the register starts with all ones
    input  wire logic [63:0] data,   // fewer than eight bytes: the rest is zero
    output      logic [31:0] crc     // not inverted at the end, see crc32_pkg
);

    logic [31:0] words[256];  // 16 for nibble 0, 16 for nibble 1, ...

    for (genvar i = 0; i < 256; i++) begin : g_word
        assign words[i] = crc32_pkg::crc32_zeros(32'(i % 16), 64 - 4 * (i / 16));
    end

    logic [63:0] x;

    assign x = data ^ {32'd0, first ? 32'hffff_ffff : crc};

    always_ff @(posedge clk) begin
        if (valid) begin
            crc <= words[{4'd0, x[3:0]}] ^ words[{4'd1, x[7:4]}]
                ^ words[{4'd2, x[11:8]}] ^ words[{4'd3, x[15:12]}]
                ^ words[{4'd4, x[19:16]}] ^ words[{4'd5, x[23:20]}]
                ^ words[{4'd6, x[27:24]}] ^ words[{4'd7, x[31:28]}]
                ^ words[{4'd8, x[35:32]}] ^ words[{4'd9, x[39:36]}]
                ^ words[{4'd10, x[43:40]}] ^ words[{4'd11, x[47:44]}]
                ^ words[{4'd12, x[51:48]}] ^ words[{4'd13, x[55:52]}]
                ^ words[{4'd14, x[59:56]}] ^ words[{4'd15, x[63:60]}];
        end
    end

endmodule

`default_nettype wire
