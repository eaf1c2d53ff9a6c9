// The Ethernet CRC-32 (IEEE 802.3 clause 3.2.9), eight bytes a step, as XOR matrices that constant
// functions compute.  The register is bit-reflected and neither inverted at the start nor at the
// end here: begin with all ones, and the FCS is the complement, least significant byte first.

`default_nettype none

// A design that uses only some of the constants is fine.
// verilator lint_off UNUSEDPARAM
package crc32_pkg;

    localparam logic [31:0] CrcPolynomial = 32'hedb8_8320;

    // What the register holds after a frame and its correct FCS.
    localparam logic [31:0] CrcResidue = 32'hdebb_20e3;

    // The register after `bits` more data bits of value 0.
    function automatic logic [31:0] crc32_zeros(input logic [31:0] crc, input int unsigned bits);
        crc32_zeros = crc;
        for (int unsigned i = 0; i < bits; i++)
            crc32_zeros = (crc32_zeros >> 1) ^ (crc32_zeros[0] ? CrcPolynomial : 32'd0);
    endfunction

    // Row i, bits 64i+63:64i: which of the 64 bits (data, with the register XORed into the first
    // four bytes) decide bit i of the next register.
    function automatic logic [2047:0] crc32_rows();
        logic [31:0] column;
        column = 32'd1;
        crc32_rows = '0;
        for (int j = 63; j >= 0; j--) begin
            column = (column >> 1) ^ (column[0] ? CrcPolynomial : 32'd0);
            for (int i = 0; i < 32; i++) crc32_rows[64*i+j] = column[i];
        end
    endfunction

    localparam logic [2047:0] Rows = crc32_rows();

    // The register after eight bytes, the first in data[7:0].  Fewer bytes: set the rest to zero,
    // and either compare with CrcResidues or take the zeros back with crc32_unwind.
    // Written out because Icarus folds the rows only where their index is a literal (30x faster).
    function automatic logic [31:0] crc32_step(input logic [31:0] crc, input logic [63:0] data);
        logic [63:0] x;
        x = data ^ {32'd0, crc};
        crc32_step = {
            ^(x & Rows[64*31+:64]), ^(x & Rows[64*30+:64]), ^(x & Rows[64*29+:64]),
            ^(x & Rows[64*28+:64]), ^(x & Rows[64*27+:64]), ^(x & Rows[64*26+:64]),
            ^(x & Rows[64*25+:64]), ^(x & Rows[64*24+:64]), ^(x & Rows[64*23+:64]),
            ^(x & Rows[64*22+:64]), ^(x & Rows[64*21+:64]), ^(x & Rows[64*20+:64]),
            ^(x & Rows[64*19+:64]), ^(x & Rows[64*18+:64]), ^(x & Rows[64*17+:64]),
            ^(x & Rows[64*16+:64]), ^(x & Rows[64*15+:64]), ^(x & Rows[64*14+:64]),
            ^(x & Rows[64*13+:64]), ^(x & Rows[64*12+:64]), ^(x & Rows[64*11+:64]),
            ^(x & Rows[64*10+:64]), ^(x & Rows[64*9+:64]), ^(x & Rows[64*8+:64]),
            ^(x & Rows[64*7+:64]), ^(x & Rows[64*6+:64]), ^(x & Rows[64*5+:64]),
            ^(x & Rows[64*4+:64]), ^(x & Rows[64*3+:64]), ^(x & Rows[64*2+:64]),
            ^(x & Rows[64*1+:64]), ^(x & Rows[64*0+:64])
        };
    endfunction

    // What a correct frame leaves when n of the last eight bytes were its own and the rest zero:
    // CrcResidues[32n+31:32n].
    localparam logic [255:0] CrcResidues = {
        crc32_zeros(CrcResidue, 8),
        crc32_zeros(CrcResidue, 16),
        crc32_zeros(CrcResidue, 24),
        crc32_zeros(CrcResidue, 32),
        crc32_zeros(CrcResidue, 40),
        crc32_zeros(CrcResidue, 48),
        crc32_zeros(CrcResidue, 56),
        crc32_zeros(CrcResidue, 64)
    };

    // The register before the last `bits` bits, which were zero.  The top bit of the polynomial
    // is set, so the top bit of the register tells whether the step that made it XORed.
    function automatic logic [31:0] crc32_back(input logic [31:0] crc, input int unsigned bits);
        crc32_back = crc;
        for (int unsigned i = 0; i < bits; i++)
            crc32_back = {
                crc32_back[30:0] ^ (crc32_back[31] ? CrcPolynomial[30:0] : 31'd0), crc32_back[31]
            };
    endfunction

    // The register before the last `bytes` bytes, which were zero: three matrices in a row.
    function automatic logic [31:0] crc32_unwind(input logic [31:0] crc, input logic [2:0] bytes);
        crc32_unwind = crc;
        if (bytes[2]) crc32_unwind = crc32_back(crc32_unwind, 32);
        if (bytes[1]) crc32_unwind = crc32_back(crc32_unwind, 16);
        if (bytes[0]) crc32_unwind = crc32_back(crc32_unwind, 8);
    endfunction

endpackage
// verilator lint_on UNUSEDPARAM

`default_nettype wire
