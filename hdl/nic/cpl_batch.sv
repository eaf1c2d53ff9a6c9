// Gathers completions that follow each other in a ring into one write: an entry that comes while
// nothing is held makes a job at once; those that come until the DMA takes it go along with it.
// A batch ends with the ring, with its queue, or at Batch entries.  Whoever pushes has at most Depth
// entries under way, so a row is always free.
//
//   entries -> rows of DataW bits, packed -> job (of all that are there), then its data, by a
//   register of their own
//
//   row   |  entry 0  |  entry 1  |      at 256 bits; the last row of a batch may not be full
//         |  entry 2  |     -     |

`default_nettype none

module cpl_batch #(
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int QueueW = 1,
    parameter int Depth = 8,   // rows, a power of two
    parameter int Batch = 4,   // entries in a job at most
    localparam int CountW = $clog2(Batch) + 1
) (
    input  wire logic              clk,
    input  wire logic              rst,

    // an entry, and whether its place is the ring's first
    input  wire logic              push,
    output      logic              ready,       // for the entry that is shown
    input  wire logic [QueueW-1:0] push_queue,
    input  wire logic [AddrW-1:0]  push_addr,
    input  wire logic              push_first,
    input  wire logic [127:0]      push_entry,

    // write job and its data
    output      logic              job_valid,
    input  wire logic              job_ready,
    output      logic [AddrW-1:0]  job_addr,
    output      logic [CountW-1:0] job_count,   // entries
    output      logic [QueueW-1:0] job_queue,
    output      logic [DataW-1:0]  m_axis_tdata,
    output      logic              m_axis_tvalid,
    input  wire logic              m_axis_tready,

    output      logic              busy
);

    localparam int RowW = DataW < 128 ? 128 : DataW;
    localparam int Slices = RowW / 128;
    localparam int SliceW = Slices > 1 ? $clog2(Slices) : 1;
    localparam int Beats = RowW / DataW;
    localparam int PtrW = $clog2(Depth);

    logic [RowW-1:0]   rows_q [Depth];
    logic [PtrW:0]     tail_q, given_q, head_q;  // next free row, those of taken jobs, next to go
    logic              batch_full_q;
    logic [PtrW-1:0]   row;
    logic [CountW-1:0] place;                    // of the entry in its batch
    logic [SliceW-1:0] slice;
    logic              taken, begins, joins, new_row, load, awake;

    assign taken  = job_valid && job_ready;
    assign begins = !job_valid || taken;
    assign joins  = job_queue == push_queue && !push_first && !batch_full_q;

    assign place   = begins ? '0 : job_count;
    assign slice   = Slices > 1 ? SliceW'(place) : '0;
    assign new_row = slice == '0;
    assign row     = new_row ? tail_q[PtrW-1:0] : tail_q[PtrW-1:0] - 1'b1;
    assign ready   = !job_valid || joins;  // whether or not the job is taken now
    assign load    = push && ready;

    // ---- rows that the DMA has been told of, a beat after the other

    logic             beat_q, last_beat, more, shift;
    logic [DataW-1:0] beat;

    assign last_beat = Beats == 1 || beat_q;
    assign more      = head_q != given_q;
    assign shift     = more && (!m_axis_tvalid || m_axis_tready);

    if (Beats > 1) begin : g_narrow
        assign beat = rows_q[head_q[PtrW-1:0]][DataW * beat_q +: DataW];
    end else begin : g_wide
        assign beat = rows_q[head_q[PtrW-1:0]];
    end

    assign busy  = job_valid || more || m_axis_tvalid;
    assign awake = push || busy || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (taken) job_valid <= 1'b0;
            if (load) job_valid <= 1'b1;
            if (begins) begin  // with or without an entry: an address that no job has is no matter
                job_addr  <= push_addr;
                job_queue <= push_queue;
            end
            if (taken) begin
                given_q      <= tail_q;
                job_count    <= '0;
                batch_full_q <= 1'b0;
            end
            if (load) begin
                job_count    <= place + 1'b1;
                batch_full_q <= place == CountW'(Batch - 1);
                if (new_row) tail_q <= tail_q + 1'b1;
                for (int i = 0; i < Slices; i++)
                    if (slice == SliceW'(i)) rows_q[row][128*i +: 128] <= push_entry;
            end
            if (rst) begin
                tail_q        <= '0;
                given_q       <= '0;
                job_count     <= '0;
                job_valid     <= 1'b0;
                batch_full_q  <= 1'b0;
            end
        end
    end

    // What hangs on the bus's ready is not behind `awake`: that would make its paths longer.
    always_ff @(posedge clk) begin
        if (!m_axis_tvalid || m_axis_tready) m_axis_tdata <= beat;
        if (shift) beat_q <= !last_beat;
        m_axis_tvalid <= !rst && (more || (m_axis_tvalid && !m_axis_tready));
        if (shift && last_beat) head_q <= head_q + 1'b1;
        if (rst) begin
            head_q <= '0;
            beat_q <= 1'b0;
        end
`ifndef SYNTHESIS
        if (load)
            assert (rst || !new_row || tail_q - head_q != (PtrW + 1)'(Depth))
            else $fatal(1, "cpl_batch: no row is free");
`endif
    end

endmodule

`default_nettype wire
