// Takes descriptors of the queues in turn, checks the length, and has the DMA read the frame into
// the transmit buffer once that has room for all of it.  A frame with a bus error on its way is
// discarded there.  The completion is due when the frame's last byte is in the buffer; writing it
// is left to cpl_writer.

`default_nettype none

module tx_engine
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic                    clk,
    input  wire logic                    rst,
    input  wire logic [15:0]             cfg_max_frame,  // bytes

    // rings and descriptors
    input  wire logic [Queues-1:0]       ready,
    input  wire logic [Queues-1:0][15:0] consumed,
    output      logic [Queues-1:0]       pop,
    output      logic [QueueW-1:0]       head_queue,
    input  wire logic [127:0]            head_desc,
    input  wire logic [1:0]              head_resp,

    // read job and its data
    output      logic                    job_valid,
    input  wire logic                    job_ready,
    output      logic [AddrW-1:0]        job_addr,
    output      logic [15:0]             job_len,
    output      logic [QueueW-1:0]       job_tag,        // queue
    input  wire logic [DataW-1:0]        s_axis_tdata,
    input  wire logic [DataW/8-1:0]      s_axis_tkeep,
    input  wire logic                    s_axis_tvalid,
    output      logic                    s_axis_tready,
    input  wire logic                    s_axis_tlast,
    input  wire logic [1:0]              s_axis_tresp_job,

    // transmit buffer
    output      logic [DataW-1:0]        m_axis_tdata,
    output      logic [DataW/8-1:0]      m_axis_tkeep,
    output      logic                    m_axis_tvalid,
    input  wire logic                    m_axis_tready,
    output      logic                    m_axis_tlast,
    output      logic                    m_axis_tuser,   // with tlast: discard this frame
    input  wire logic [15:0]             free_bytes,

    // completion
    output      logic                    cpl_push,
    input  wire logic                    cpl_full,
    output      logic [QueueW-1:0]       cpl_queue,
    output      logic [127:0]            cpl_entry,      // tx_cpl_t without queue and phase
    output      logic                    cpl_has_data,
    output      logic                    data_done,
    output      logic [1:0]              data_resp,

    output      logic                    busy
);

    typedef enum logic [1:0] {
        IDLE,  // waits for a descriptor
        LOOK,  // waits for room for the frame
        JOB    // waits for the DMA to take the job
    } state_e;

    localparam int BeatBytes = DataW / 8;
    localparam int BeatW = $clog2(BeatBytes);

    state_e      state_q, state_d;

    // ---- queues in turn

    logic              any_ready;
    logic [QueueW-1:0] next_queue;

    rr_arbiter #(.Requesters(Queues)) u_arbiter (
        .clk,
        .rst,
        .request(ready),
        .advance(state_q == IDLE && any_ready),
        .valid(any_ready),
        .index(next_queue)
    );

    // ---- descriptor: its length, and room for it.  Rows of the buffer are promised when a frame's
    // job is made, and the promise is kept row by row as its beats go there.

    // The reserved bits of a descriptor mean nothing.
    // verilator lint_off UNUSEDSIGNAL
    tx_desc_t desc;
    // verilator lint_on UNUSEDSIGNAL
    cpl_status_e status;
    tx_cpl_t     entry;
    logic        here, fits, bad, take;
    logic [15:0] rows, rows_promised_q;
    logic [16:0] rows_wanted;

    assign desc = head_desc;

    always_comb begin
        status = CPL_STATUS_OK;
        if (head_resp == 2'b11) status = CPL_STATUS_DESC_DECERR;
        else if (head_resp == 2'b10) status = CPL_STATUS_DESC_SLVERR;
        else if (desc.len == 16'd0 || desc.len > cfg_max_frame) status = CPL_STATUS_BAD_LENGTH;
        entry        = '0;
        entry.index  = consumed[head_queue];
        entry.len    = desc.len;
        entry.status = status;
    end

    assign bad         = status != CPL_STATUS_OK;
    assign here        = ready[head_queue];
    assign rows        = 16'((17'(desc.len) + 17'(BeatBytes - 1)) >> BeatW);
    assign rows_wanted = 17'(rows_promised_q) + 17'(rows);
    assign fits        = rows_wanted <= 17'(free_bytes >> BeatW);
    assign pop         = take ? Queues'(1) << head_queue : '0;
    assign take        = state_q == LOOK && here && !cpl_full && (bad || fits);

    assign cpl_push     = take;
    assign cpl_queue    = head_queue;
    assign cpl_entry    = entry;
    assign cpl_has_data = !bad;

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE: if (any_ready) state_d = LOOK;
            LOOK:
                if (!here) state_d = IDLE;  // its queue has stopped
                else if (take && bad) state_d = IDLE;
                else if (take) state_d = JOB;
            JOB:     if (job_ready) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    logic beat, awake;

    assign beat  = m_axis_tvalid && m_axis_tready;
    assign awake = any_ready || state_q != IDLE || s_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            if (state_q == IDLE) head_queue <= next_queue;
            if (take) begin
                job_addr <= AddrW'(desc.addr);
                job_len  <= desc.len;
                job_tag  <= head_queue;
            end
            rows_promised_q <= rows_promised_q + (take && !bad ? rows : 16'd0) - 16'(beat);
            if (rst) begin
                state_q         <= IDLE;
                rows_promised_q <= '0;
            end
`ifndef SYNTHESIS
            assert (rst || !s_axis_tvalid || m_axis_tready)
            else $fatal(1, "tx_engine: a promised row is not free");
`endif
        end
    end

    assign job_valid = state_q == JOB;

    // ---- data on their way to the buffer

    assign m_axis_tdata  = s_axis_tdata;
    assign m_axis_tkeep  = s_axis_tkeep;
    assign m_axis_tvalid = s_axis_tvalid;
    assign s_axis_tready = m_axis_tready;
    assign m_axis_tlast  = s_axis_tlast;
    assign m_axis_tuser  = s_axis_tlast && s_axis_tresp_job[1];

    assign data_done = beat && s_axis_tlast;
    assign data_resp = s_axis_tresp_job;

    assign busy = any_ready || state_q != IDLE || rows_promised_q != 16'd0;

endmodule

`default_nettype wire
