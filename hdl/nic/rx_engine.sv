// Takes whole frames from the receive buffer, gives each the next descriptors of its queue, as many
// as it needs, and sends the bytes that fit into each buffer to the DMA.  A frame whose queue is off
// or has no descriptor is dropped and counted; one that runs out of descriptors on the way is cut
// there, and the last completion says so.  With header split the headers get a buffer of their own.
//
//   frame -> descriptor -> job -> beats of it -> completion -> next descriptor | next frame
//
// A row of the receive buffer in which a buffer ends goes to the DMA twice: the next job begins in
// the lane where this one ended.  Writing completions is left to cpl_writer.

`default_nettype none

module rx_engine
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1,
    parameter int LaneW = $clog2(DataW / 8)
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    input  wire logic                    cfg_header_split,

    // receive buffer
    input  wire logic                    s_meta_valid,
    output      logic                    s_meta_ready,
    input  wire logic [15:0]             s_meta_len,
    input  wire logic [DataW-1:0]        s_axis_tdata,
    input  wire logic                    s_axis_tvalid,
    output      logic                    s_axis_tready,
    input  wire logic                    s_axis_tlast,

    // what was found out about the frame at the head; the verdict may come while it is on its way
    input  wire logic                    info_valid,
    input  wire logic [QueueW-1:0]       info_queue,
    input  wire logic [7:0]              info_header_len,
    input  wire logic [127:0]            info_entry,     // rx_cpl_t: what its completions share
    input  wire logic                    verdict_valid,
    input  wire logic [2:0]              verdict,        // {IPv4 ok, L4 ok, L4 bad}
    output      logic                    frame_end,      // one clock: done with all of that

    // rings and descriptors
    input  wire logic [Queues-1:0]       posted,
    input  wire logic [Queues-1:0]       posted_more,    // two or more
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
    output      logic [LaneW-1:0]        job_lane,       // of the first byte
    output      logic [DataW-1:0]        m_axis_tdata,
    output      logic                    m_axis_tvalid,
    input  wire logic                    m_axis_tready,

    // completion
    output      logic                    cpl_push,
    input  wire logic                    cpl_full,
    output      logic [QueueW-1:0]       cpl_queue,
    output      logic [127:0]            cpl_entry,      // rx_cpl_t without queue and phase
    output      logic                    cpl_first,      // of its frame
    output      logic                    cpl_last,
    output      logic                    cpl_has_data,

    // one clock a frame dropped
    output      logic [Queues-1:0]       ev_disabled,
    output      logic [Queues-1:0]       ev_no_descriptor,

    output      logic                    busy
);

    typedef enum logic [2:0] {
        IDLE,  // waits for a frame and, if its queue has posted one, for a descriptor
        NEXT,  // inside a frame: waits for the next descriptor
        JOB,   // waits for the DMA to take the job
        DATA,  // waits for the last beat of the job, and then for the verdict
        EMPTY, // the descriptor takes no data: waits for the verdict
        DROP   // waits for the end of the frame, and for the verdict
    } state_e;

    state_e            state_q, state_d;
    logic [15:0]       left_q;        // bytes of the frame behind the current buffer
    logic [15:0]       beats_left_q;  // of the job
    logic              over_q;        // no more of the frame goes to memory after this buffer
    logic [LaneW-1:0]  next_lane_q;   // behind it in its row
    logic              first_q, data_q;
    logic [QueueW-1:0] queue_q;
    rx_cpl_t           entry_q;

    // ---- a descriptor, and how much of the frame it takes

    // The reserved bits of a descriptor mean nothing.
    // verilator lint_off UNUSEDSIGNAL
    rx_desc_t    desc;
    // verilator lint_on UNUSEDSIGNAL
    rx_cpl_t     entry, finished;
    logic [15:0] left, room, bytes;
    logic        first, known, take, refuse, write, more, headers, over, awake;
    logic [LaneW-1:0] lane;

    assign desc       = head_desc;
    assign first      = state_q == IDLE;
    assign known      = first ? s_meta_valid && info_valid : state_q == NEXT;
    assign head_queue = first ? info_queue : queue_q;
    assign take       = known && ready[head_queue] && !cpl_full;
    assign refuse     = known && !posted[head_queue];
    assign pop        = take ? Queues'(1) << head_queue : '0;

    assign s_meta_ready = first && (take || refuse);

    assign ev_disabled      = refuse && !running[head_queue] ? Queues'(1) << head_queue : '0;
    assign ev_no_descriptor = refuse && running[head_queue] ? Queues'(1) << head_queue : '0;

    assign left    = first ? s_meta_len : left_q;
    assign lane    = first ? '0 : next_lane_q;
    assign headers = first && cfg_header_split && info_header_len != 8'd0
        && 16'(info_header_len) < s_meta_len && 16'(info_header_len) <= desc.len;
    assign room    = headers ? 16'(info_header_len) : desc.len;
    assign bytes   = room < left ? room : left;
    assign more    = room < left;
    assign write   = !head_resp[1] && desc.len != 16'd0;
    assign over    = !write || !more || !posted_more[head_queue];

    always_comb begin
        entry        = info_entry;
        entry.index  = consumed[head_queue];
        entry.len    = write ? bytes : 16'd0;
        entry.header = headers && write;
        entry.last   = over;
        entry.status = CPL_STATUS_OK;
        if (head_resp == 2'b11) entry.status = CPL_STATUS_DESC_DECERR;
        else if (head_resp == 2'b10) entry.status = CPL_STATUS_DESC_SLVERR;
        else if (desc.len == 16'd0) entry.status = CPL_STATUS_BAD_LENGTH;
        else if (more && over) entry.status = CPL_STATUS_TRUNCATED;
    end

    // ---- job, data, completion

    logic last_beat, finish, cut;

    assign last_beat = state_q == DATA && beats_left_q == 16'd1;
    assign finish    = (state_q == EMPTY && verdict_valid)
        || (last_beat && s_axis_tvalid && m_axis_tready && verdict_valid);
    assign cut       = over_q && left_q != 16'd0;

    always_comb begin
        state_d   = state_q;
        frame_end = 1'b0;
        case (state_q)
            IDLE, NEXT:
                if (take && write) state_d = JOB;
                else if (take) state_d = EMPTY;
                else if (refuse) state_d = DROP;
            JOB: if (job_ready) state_d = DATA;
            DATA, EMPTY:
                if (finish && (cut || state_q == EMPTY)) state_d = DROP;
                else if (finish && over_q) begin
                    state_d   = IDLE;
                    frame_end = 1'b1;
                end else if (finish) state_d = NEXT;
            DROP:
                if (s_axis_tvalid && s_axis_tlast && verdict_valid) begin
                    state_d   = IDLE;
                    frame_end = 1'b1;
                end
            default: state_d = IDLE;
        endcase
    end

    // ---- rows of the job

    logic [16:0]      end_byte;  // counted from the job's first row
    logic [LaneW-1:0] end_lane;

    assign end_byte = 17'(job_len) + 17'(job_lane);
    assign end_lane = end_byte[LaneW-1:0];

    assign awake = s_meta_valid || state_q != IDLE || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            if (take) begin
                job_addr <= AddrW'(desc.addr);
                job_len  <= bytes;
                job_lane <= lane;
                queue_q  <= head_queue;
                entry_q  <= entry;
                first_q  <= first;
                data_q   <= write;
                over_q   <= over;
                left_q   <= left - bytes;
            end
            if (state_q == JOB) begin
                beats_left_q <= 16'(end_byte >> LaneW) + 16'(end_lane != '0);
                next_lane_q  <= end_lane;
            end
            if (m_axis_tvalid && m_axis_tready) beats_left_q <= beats_left_q - 16'd1;
            if (rst) state_q <= IDLE;
        end
    end

    assign job_valid     = state_q == JOB;
    assign job_tag       = queue_q;
    assign m_axis_tdata  = s_axis_tdata;
    assign m_axis_tvalid = state_q == DATA && s_axis_tvalid && !(last_beat && !verdict_valid);

    // The last row of a job stays for the next job if that begins in it, and for DROP.
    always_comb begin
        s_axis_tready = 1'b0;
        if (state_q == DATA && m_axis_tready && m_axis_tvalid)
            s_axis_tready = !last_beat || (over_q ? !cut : next_lane_q == '0);
        if (state_q == DROP) s_axis_tready = !s_axis_tlast || verdict_valid;
    end

    always_comb begin
        finished             = entry_q;
        finished.ip_csum_ok  = verdict[2];
        finished.l4_csum_ok  = verdict[1];
        finished.l4_csum_bad = verdict[0];
    end

    assign cpl_push     = finish;
    assign cpl_queue    = queue_q;
    assign cpl_entry    = finished;
    assign cpl_first    = first_q;
    assign cpl_last     = over_q;
    assign cpl_has_data = data_q;
    assign busy         = state_q != IDLE;

endmodule

`default_nettype wire
