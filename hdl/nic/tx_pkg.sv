// What the blocks of the transmit path hand on about a frame.

`default_nettype none

// A design that uses only some of the constants is fine.
// verilator lint_off UNUSEDPARAM
package tx_pkg;

    localparam int MaxFragments = 24;     // descriptors of a frame
    localparam int MaxHeaderBytes = 256;  // of a frame to be segmented

    localparam int MaxJobBytes = 2048;     // of a read of data, a power of two

    localparam int FrameW = 72;  // bits of a tx_frame_t

    typedef struct packed {
        logic [3:0]  status;       // cpl_status_e; if it is not OK, no data follow
        logic [5:0]  fragments;
        logic        part;         // not counted: the end of this refused frame is not in it
        logic [16:0] len;          // bytes of all fragments
        logic        timestamp;
        logic        vlan_insert;
        logic [15:0] vlan_tci;
        logic        segment;
        logic [13:0] mss;
        logic [6:0]  csum_start;   // in 2 bytes from the frame's first; 0: none
        logic [3:0]  csum_offset;  // in 2 bytes from csum_start
    } tx_frame_t;

endpackage
// verilator lint_on UNUSEDPARAM

`default_nettype wire
