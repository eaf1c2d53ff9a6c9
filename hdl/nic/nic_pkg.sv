// What the wire-side modules share: verdicts on received frames, XGMII control characters and
// frame limits.  Registers and ring layouts are not here, they are generated (nic_regs_pkg).

`default_nettype none

// A design that uses only some of the constants is fine.
// verilator lint_off UNUSEDPARAM
package nic_pkg;

    // How a frame from the wire ended.  The MAC knows the first five, the filter and the buffer
    // add theirs; a frame has one verdict, so the counters of them add up to the frames seen.
    typedef enum logic [2:0] {
        RX_OK,
        RX_BAD_FCS,
        RX_RUNT,
        RX_OVERSIZE,
        RX_CODED_ERROR,
        RX_FILTERED,
        RX_OVERFLOW,
        RX_PAUSE
    } rx_verdict_e;

    // XGMII control characters, IEEE 802.3 table 46-3; lane n is bits 8n+7:8n, control bit n.
    localparam logic [7:0] XgmiiIdle = 8'h07;
    localparam logic [7:0] XgmiiSequence = 8'h9c;
    localparam logic [7:0] XgmiiStart = 8'hfb;
    localparam logic [7:0] XgmiiTerminate = 8'hfd;
    localparam logic [7:0] XgmiiError = 8'hfe;

    // Two columns of idle, and the two columns that start a frame: start, preamble, SFD.
    localparam logic [63:0] XgmiiIdleWord = {8{XgmiiIdle}};
    localparam logic [63:0] XgmiiPreambleWord = {8'hd5, {6{8'h55}}, XgmiiStart};

    // Fault sequence ordered sets, one column each, IEEE 802.3 table 46-5.
    localparam logic [31:0] XgmiiLocalFault = {24'h010000, XgmiiSequence};
    localparam logic [31:0] XgmiiRemoteFault = {24'h020000, XgmiiSequence};

    localparam int FcsBytes = 4;
    localparam int MinFrameBytes = 64;  // with FCS

    // Bytes of a 64-bit AXI-stream beat; tkeep is contiguous from bit 0.
    function automatic logic [3:0] keep_bytes(input logic [7:0] keep);
        keep_bytes[3] = keep[7];
        keep_bytes[2] = keep[3] && !keep[7];
        keep_bytes[1] = (keep[1] && !keep[3]) || (keep[5] && !keep[7]);
        keep_bytes[0] = (keep[0] && !keep[1]) || (keep[2] && !keep[3])
            || (keep[4] && !keep[5]) || (keep[6] && !keep[7]);
    endfunction

    // The inverse: the first `bytes` of eight.
    function automatic logic [7:0] bytes_keep(input logic [3:0] bytes);
        bytes_keep = ~(8'hff << bytes);
    endfunction

    // The first `bytes` of eight as a mask of bits.
    function automatic logic [63:0] bytes_mask(input logic [3:0] bytes);
        bytes_mask = ~(64'hffff_ffff_ffff_ffff << {bytes, 3'd0});
    endfunction

endpackage
// verilator lint_on UNUSEDPARAM

`default_nettype wire
