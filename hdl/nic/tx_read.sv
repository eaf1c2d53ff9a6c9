// Has the DMA read the fragments of each frame, in pieces for which the landing store has room, and
// tells the blocks behind which frames are coming.  A frame that was refused is told, not read.

`default_nettype none

module tx_read
    import nic_regs_pkg::*;
    import tx_pkg::*;
#(
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int QueueW = 1,
    parameter int LandingBytes = 8192,
    parameter int MaxJobBytes = 2048  // a power of two
) (
    input  wire logic              clk,
    input  wire logic              rst,

    // what to read
    input  wire logic              fragment_valid,
    output      logic              fragment_pop,
    input  wire logic [63:0]       fragment_addr,
    input  wire logic [15:0]       fragment_len,
    input  wire logic              frame_valid,
    output      logic              frame_pop,
    // Only a part of it matters here.
    // verilator lint_off UNUSEDSIGNAL
    input  wire tx_frame_t         frame,
    // verilator lint_on UNUSEDSIGNAL

    output      logic              resume,     // all of a frame to be cut has been asked for

    // frames, as their reading begins
    output      logic              told_push,
    input  wire logic              told_full,

    // read jobs; the tag's bit 0 says that the frame ends with the job
    output      logic              job_valid,
    input  wire logic              job_ready,
    output      logic [AddrW-1:0]  job_addr,
    output      logic [15:0]       job_len,
    output      logic [QueueW-1:0] job_tag,

    input  wire logic              row_freed,  // a row of the landing store

    output      logic              busy
);

    typedef enum logic [1:0] {
        IDLE,  // waits for a frame
        JOB,   // waits for room, and for the DMA to take the job
        SKIP   // waits for the fragments of a refused frame to be gone
    } state_e;

    localparam int BeatBytes = DataW / 8;
    localparam int BeatW = $clog2(BeatBytes);
    localparam int Rows = LandingBytes / BeatBytes;
    localparam int RowW = $clog2(Rows) + 1;
    localparam int JobRows = MaxJobBytes / BeatBytes;

    state_e          state_q, state_d;
    logic [63:0]     addr_q;
    logic [15:0]     left_q;
    logic [5:0]      count_q;  // fragments not begun
    logic [RowW-1:0] free_q;   // rows neither used nor promised to a job
    logic            cut_q;    // the frame is to be cut
    logic            begins, taken, piece, next, awake;

    assign begins = state_q == IDLE && frame_valid && !told_full;
    assign taken  = job_valid && job_ready;
    assign piece  = left_q > 16'(MaxJobBytes);
    assign next   = taken && !piece && count_q != '0;

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE:
                if (begins && frame.status == CPL_STATUS_OK) state_d = JOB;
                else if (begins) state_d = SKIP;
            JOB:  if (taken && !piece && count_q == '0) state_d = IDLE;
            SKIP: if (count_q == '0) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    assign resume       = cut_q && state_q != IDLE && state_d == IDLE;
    assign told_push    = begins;
    assign frame_pop    = begins;
    assign fragment_pop = begins || next || (state_q == SKIP && count_q != '0);

    assign job_valid    = state_q == JOB && free_q >= RowW'(JobRows);
    assign job_addr     = AddrW'(addr_q);
    assign job_len      = piece ? 16'(MaxJobBytes) : left_q;
    assign job_tag      = QueueW'(!piece && count_q == '0);
    assign awake        = begins || state_q != IDLE || row_freed || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            if (begins) cut_q <= frame.segment;
            if (begins) count_q <= frame.fragments - 1'b1;
            else if (fragment_pop) count_q <= count_q - 1'b1;
            if (fragment_pop) begin
                addr_q <= fragment_addr;
                left_q <= fragment_len;
            end else if (taken) begin
                addr_q <= addr_q + 64'(MaxJobBytes);
                left_q <= left_q - 16'(MaxJobBytes);
            end
            free_q <= free_q + RowW'(row_freed)
                - (taken ? RowW'((job_len + 16'(BeatBytes - 1)) >> BeatW) : '0);
            if (rst) begin
                state_q <= IDLE;
                free_q  <= RowW'(Rows);
            end
`ifndef SYNTHESIS
            assert (rst || !fragment_pop || fragment_valid)
            else $fatal(1, "tx_read: a frame without its fragments");
`endif
        end
    end

`ifdef SYNTHESIS
    logic unused_valid;
    assign unused_valid = fragment_valid;
`endif

    assign busy = frame_valid || state_q != IDLE;

endmodule

`default_nettype wire
