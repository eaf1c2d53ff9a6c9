// Takes zero bits back out of a CRC register: the register before the last Bits bits, if those were
// zero.  A matrix, each bit one XOR of those its row names; what it is good for knows mac_tx.

`default_nettype none

module crc32_rewind #(
    parameter int Bits = 8
) (
    input  wire logic [31:0] crc,
    output      logic [31:0] back
);

    logic [31:0][31:0] row;

    for (genvar j = 0; j < 32; j++) begin : g_column
        logic [31:0] column;

        assign column = crc32_pkg::crc32_back(32'd1 << j, Bits);

        for (genvar i = 0; i < 32; i++) begin : g_bit
            assign row[i][j] = column[i];
        end
    end

    for (genvar i = 0; i < 32; i++) begin : g_row
        assign back[i] = ^(crc & row[i]);
    end

endmodule

`default_nettype wire
