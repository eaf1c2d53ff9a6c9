// Takes whole frames from the receive buffer, gives each the next descriptor of its queue, and
// sends the bytes that fit into the buffer to the DMA.  A frame whose queue is off or has no
// descriptor is dropped and counted.  Writing the completion is left to cpl_writer; the next frame
// may begin meanwhile.

`default_nettype none

module rx_engine
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    // receive buffer
    input  wire logic                    s_meta_valid,
    output      logic                    s_meta_ready,
    input  wire logic [15:0]             s_meta_len,
    input  wire logic [DataW-1:0]        s_axis_tdata,
    input  wire logic                    s_axis_tvalid,
    output      logic                    s_axis_tready,
    input  wire logic                    s_axis_tlast,
    input  wire logic [QueueW-1:0]       queue_id,       // where the frame at the head goes

    // rings and descriptors
    input  wire logic [Queues-1:0]       posted,
    input  wire logic [Queues-1:0]       running,
    input  wire logic [Queues-1:0]       ready,
    input  wire logic [Queues-1:0][15:0] consumed,
    output      logic [Queues-1:0]       pop,
    output      logic [QueueW-1:0]       head_queue,
    input  wire logic [127:0]            head_desc,
    input  wire logic [1:0]              head_resp,

    // write job and its data
    output      logic                    job_valid,
    input  wire logic                    job_ready,
    output      logic [AddrW-1:0]        job_addr,
    output      logic [15:0]             job_len,
    output      logic [QueueW-1:0]       job_tag,        // queue
    output      logic [DataW-1:0]        m_axis_tdata,
    output      logic                    m_axis_tvalid,
    input  wire logic                    m_axis_tready,

    // completion
    output      logic                    cpl_push,
    input  wire logic                    cpl_full,
    output      logic [QueueW-1:0]       cpl_queue,
    output      logic [127:0]            cpl_entry,      // rx_cpl_t without queue and phase
    output      logic                    cpl_has_data,

    // one clock a frame dropped
    output      logic [Queues-1:0]       ev_disabled,
    output      logic [Queues-1:0]       ev_no_descriptor,

    output      logic                    busy
);

    typedef enum logic [1:0] {
        IDLE,  // waits for a frame and, if its queue has posted one, for a descriptor
        JOB,   // waits for the DMA to take the job
        DATA,  // waits for the last beat that fits into the buffer
        DROP   // waits for the end of the frame
    } state_e;

    localparam int BeatBytes = DataW / 8;
    localparam int BeatW = $clog2(BeatBytes);

    state_e      state_q, state_d;
    logic [15:0] beats_left_q;  // of the job

    // The reserved bits of a descriptor mean nothing.
    // verilator lint_off UNUSEDSIGNAL
    rx_desc_t desc;
    // verilator lint_on UNUSEDSIGNAL
    rx_cpl_t     entry;
    logic [15:0] bytes;         // that fit into the buffer
    logic        has_queue, has_posted, take, refuse, write, last_write, awake;

    assign desc = head_desc;

    assign head_queue = queue_id;
    assign has_queue  = running[queue_id];
    assign has_posted = posted[queue_id];
    assign take       = state_q == IDLE && s_meta_valid && ready[queue_id] && !cpl_full;

    assign s_meta_ready = state_q == IDLE && (take || !has_posted);

    assign refuse = s_meta_valid && s_meta_ready && !has_posted;

    assign pop              = take ? Queues'(1) << queue_id : '0;
    assign ev_disabled      = refuse && !has_queue ? Queues'(1) << queue_id : '0;
    assign ev_no_descriptor = refuse && has_queue ? Queues'(1) << queue_id : '0;

    // ---- what the completion will say, unless the data fail

    always_comb begin
        entry        = '0;
        entry.index  = consumed[queue_id];
        entry.len    = write ? bytes : 16'd0;
        entry.last   = 1'b1;
        entry.status = CPL_STATUS_OK;
        if (head_resp == 2'b11) entry.status = CPL_STATUS_DESC_DECERR;
        else if (head_resp == 2'b10) entry.status = CPL_STATUS_DESC_SLVERR;
        else if (desc.len == 16'd0) entry.status = CPL_STATUS_BAD_LENGTH;
        else if (desc.len < s_meta_len) entry.status = CPL_STATUS_TRUNCATED;
    end

    assign write = !head_resp[1] && desc.len != 16'd0;
    assign bytes = desc.len < s_meta_len ? desc.len : s_meta_len;

    assign cpl_push     = take;
    assign cpl_queue    = queue_id;
    assign cpl_entry    = entry;
    assign cpl_has_data = write;

    // ---- job and data

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE:
                if (take && write) state_d = JOB;
                else if (s_meta_valid && s_meta_ready) state_d = DROP;
            JOB: if (job_ready) state_d = DATA;
            DATA:
                if (last_write && s_axis_tlast) state_d = IDLE;
                else if (last_write) state_d = DROP;
            DROP: if (s_axis_tvalid && s_axis_tlast) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    assign last_write = state_q == DATA && s_axis_tvalid && m_axis_tready && beats_left_q == 16'd1;

    assign awake = s_meta_valid || state_q != IDLE || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            if (take) begin
                job_addr <= AddrW'(desc.addr);
                job_len  <= bytes;
                job_tag  <= queue_id;
            end
            if (state_q == JOB) beats_left_q <= (job_len + 16'(BeatBytes - 1)) >> BeatW;
            if (m_axis_tvalid && m_axis_tready) beats_left_q <= beats_left_q - 16'd1;
            if (rst) state_q <= IDLE;
        end
    end

    assign job_valid     = state_q == JOB;
    assign m_axis_tdata  = s_axis_tdata;
    assign m_axis_tvalid = state_q == DATA && s_axis_tvalid;
    assign s_axis_tready = state_q == DROP || (state_q == DATA && m_axis_tready);
    assign busy          = state_q != IDLE;

endmodule

`default_nettype wire
