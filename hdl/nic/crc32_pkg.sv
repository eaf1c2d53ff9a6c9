// The Ethernet CRC-32 (IEEE 802.3 clause 3.2.9): constants and functions round the register, which
// is the module crc32.  It is bit-reflected and neither inverted at the start nor at the end here:
// begin with all ones, and the FCS is the complement, least significant byte first.

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

endpackage
// verilator lint_on UNUSEDPARAM

`default_nettype wire
