// Has the DMA read the fragments of each frame, in pieces for which the landing store has room, and
// tells the blocks behind which frames are coming.  A frame that was refused is told, not read.
// The next job is offered three clocks after one was taken, when the room for it is known.

`default_nettype none

module tx_read
    import nic_regs_pkg::*;
    import tx_pkg::*;
#(
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int QueueW = 1,
    parameter int LandingBytes = 8192
) (
    input  wire logic              clk,
    input  wire logic              rst,

    // what to read
    input  wire logic              fragment_valid,
    output      logic              fragment_pop,
    input  wire logic [63:0]       fragment_addr,
    input  wire logic [15:0]       fragment_len,
    input  wire logic              fragment_long,  // more than a job may have
    input  wire logic              frame_push,  // its reading begins; its fragments are there
    output      logic              frame_full,
    // Only a part of it matters here.
    // verilator lint_off UNUSEDSIGNAL
    input  wire tx_frame_t         frame,
    // verilator lint_on UNUSEDSIGNAL
    input  wire logic              told_full,   // there is no room for it behind

    output      logic              resume,      // all of a frame to be cut has been asked for

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

    // A job waits until there is room for the longest, see nic_params.
`ifdef __ICARUS__
    initial if (LandingBytes < MaxJobBytes) $fatal(1, "tx_read: LandingBytes is less than 2048");
`else
    if (LandingBytes < MaxJobBytes) begin : g_illegal
        $error("tx_read: LandingBytes is less than 2048");
    end
`endif

    state_e          state_q, state_d;
    logic [63:0]     addr_q;
    logic [15:0]     left_q;
    logic            piece_q;      // more is left than a job may have
    logic [5:0]      count_q;      // fragments not begun
    logic            final_q;      // none
    logic [RowW-1:0] free_q;       // rows neither used nor promised to a job
    logic [RowW-1:0] promised_q;   // to the job taken a clock ago
    logic            freed_q;      // a row, a clock ago
    logic            cut_q;        // the frame is to be cut
    logic            taken, taken_q, next, skip, room, awake;

    assign taken = job_valid && job_ready;
    assign next  = taken_q && !piece_q && !final_q;
    assign skip  = state_q == SKIP && !final_q;
    assign room  = |(free_q >> $clog2(JobRows)) && !taken_q;

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE:
                if (frame_push && frame.status == CPL_STATUS_OK) state_d = JOB;
                else if (frame_push) state_d = SKIP;
            JOB:  if (taken_q && !piece_q && final_q) state_d = IDLE;
            SKIP: if (final_q) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    assign frame_full   = state_q != IDLE || told_full;
    assign fragment_pop = frame_push || next || skip;

    assign job_addr     = AddrW'(addr_q);
    assign job_len      = piece_q ? 16'(MaxJobBytes) : left_q;
    assign job_tag      = QueueW'(!piece_q && final_q);
    assign awake        = frame_push || state_q != IDLE || resume || freed_q || rst;

    always_ff @(posedge clk) begin
        freed_q <= row_freed && !rst;
        if (awake) begin
            state_q   <= state_d;
            job_valid <= !taken && state_d == JOB && (job_valid || room);
            resume    <= cut_q && state_q != IDLE && state_d == IDLE;
            if (frame_push) begin
                cut_q   <= frame.segment;
                count_q <= frame.fragments - 1'b1;
                final_q <= frame.fragments == 6'd1;
            end else if (fragment_pop) begin
                count_q <= count_q - 1'b1;
                final_q <= count_q == 6'd1;
            end
            if (fragment_pop) begin
                addr_q  <= fragment_addr;
                left_q  <= fragment_len;
                piece_q <= fragment_long;
            end else if (taken_q) begin
                addr_q  <= addr_q + 64'(MaxJobBytes);
                left_q  <= left_q - 16'(MaxJobBytes);
                piece_q <= left_q > 16'(2 * MaxJobBytes);
            end
            taken_q    <= taken;
            promised_q <= RowW'((job_len + 16'(BeatBytes - 1)) >> BeatW);
            free_q     <= free_q + RowW'(freed_q) - (taken_q ? promised_q : '0);
            if (rst) begin
                state_q   <= IDLE;
                job_valid <= 1'b0;
                resume    <= 1'b0;
                taken_q   <= 1'b0;
                free_q    <= RowW'(Rows);
            end
`ifndef SYNTHESIS
            assert (rst || !fragment_pop || fragment_valid)
            else $fatal(1, "tx_read: a frame without its fragments");
            assert (rst || !frame_push || !frame_full)
            else $fatal(1, "tx_read: a frame for which there is no room");
`endif
        end
    end

`ifdef SYNTHESIS
    logic unused_valid;
    assign unused_valid = fragment_valid;
`endif

    assign busy = state_q != IDLE || resume;

endmodule

`default_nettype wire
