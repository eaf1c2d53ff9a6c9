// Takes zero bits back out of a CRC register: the register before the last Bits bits, taken `steps`
// times, if those were zero.  Each bit is one XOR of those that a row of the matrix of that many
// steps names: a row chosen, not a result, which is less deep.  What it is good for knows mac_tx.

`default_nettype none

module crc32_rewind #(
    parameter int Bits = 8,
    parameter int Most = 3,  // steps
    parameter int StepW = $clog2(Most + 1)
) (
    input  wire logic [31:0]      crc,
    input  wire logic [StepW-1:0] steps,
    output      logic [31:0]      back
);

    logic [31:0] column[(Most + 1) * 32];  // of the matrix of no step, of that of one, ...

    for (genvar k = 0; k < (Most + 1) * 32; k++) begin : g_column
        assign column[k] = crc32_pkg::crc32_back(32'd1 << (k % 32), Bits * (k / 32));
    end

    for (genvar i = 0; i < 32; i++) begin : g_row
        logic [(Most+1)*32-1:0] rows;  // of the same matrices

        for (genvar k = 0; k < (Most + 1) * 32; k++) begin : g_bit
            assign rows[k] = column[k][i];
        end

        assign back[i] = ^(crc & rows[32*steps +: 32]);
    end

endmodule

`default_nettype wire
