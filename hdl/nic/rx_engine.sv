// Takes whole frames from the receive buffer, gives each the next descriptors of its queue, as many
// as it needs, and sends the bytes that fit into each buffer to the DMA.  A frame whose queue is off
// or has no descriptor is dropped and counted; one that runs out of descriptors on the way is cut
// there, and the last completion says so.  With header split the headers get a buffer of their own.
//
//   front:  frame -> descriptor -> how much it takes -> plan -> next descriptor | next frame
//   back:                          plan -> job -> beats of it -> verdict -> completion
//
// The front plans a buffer while the back moves the one before.  A row of the receive buffer in which
// a buffer ends goes to the DMA twice: the next job begins in the lane where this one ended.  Writing
// completions is left to cpl_writer.

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

    // what was found out about the frame the front looks at, and the verdict on that of the back
    input  wire logic                    info_valid,
    input  wire logic [QueueW-1:0]       info_queue,
    input  wire logic [7:0]              info_header_len,
    input  wire logic [127:0]            info_entry,     // rx_cpl_t: what its completions share
    input  wire logic                    verdict_valid,
    input  wire logic [2:0]              verdict,        // {IPv4 ok, L4 ok, L4 bad}
    output      logic                    info_end,       // one clock: done with the info
    output      logic                    verdict_end,    // one clock: done with the verdict

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

    // ---- front: a descriptor, and how much of the frame it takes

    typedef enum logic [1:0] {
        LOOK,  // waits for a frame and, if its queue has posted one, for a descriptor
        FIT,   // compares what that holds with what the frame has left
        OFFER  // waits for the back to begin with the plan
    } plan_e;

    typedef enum logic [1:0] {
        IDLE,  // waits for a plan and, if there are data to move, for the DMA to take the job
        DATA,  // waits for the last beat of the job
        CHECK, // waits for the verdict
        DROP   // waits for the end of the frame
    } state_e;

    plan_e             plan_q, plan_d;
    state_e            state_q, state_d;
    logic              look_q;        // LOOK, and the last frame's info is gone
    logic              inside_q;      // the next descriptor is for more of the frame under way
    logic [QueueW-1:0] queue_q;
    logic [15:0]       left_q;        // bytes of the frame from this buffer on
    logic [15:0]       desc_len_q, index_q;
    logic [1:0]        resp_q;
    logic              first_q, split_q, another_q;
    logic [7:0]        header_len_q;

    // The reserved bits of a descriptor mean nothing.
    // verilator lint_off UNUSEDSIGNAL
    rx_desc_t          desc;
    // verilator lint_on UNUSEDSIGNAL
    logic              known, take, refuse, begins, awake;

    assign desc       = head_desc;
    assign known      = look_q && (inside_q || (s_meta_valid && info_valid));
    assign head_queue = inside_q ? queue_q : info_queue;
    assign take       = known && ready[head_queue];
    assign refuse     = known && !posted[head_queue];
    assign pop        = take ? Queues'(1) << head_queue : '0;

    assign s_meta_ready = !inside_q && (take || refuse);

    assign ev_disabled      = refuse && !running[head_queue] ? Queues'(1) << head_queue : '0;
    assign ev_no_descriptor = refuse && running[head_queue] ? Queues'(1) << head_queue : '0;

    logic        headers, more, write, over;
    cpl_status_e status;

    assign headers = split_q && 16'(header_len_q) <= desc_len_q;
    assign more    = headers || desc_len_q < left_q;
    assign write   = !resp_q[1] && desc_len_q != 16'd0;
    assign over    = !write || !more || !another_q;

    always_comb begin
        status = CPL_STATUS_OK;
        if (resp_q == 2'b11) status = CPL_STATUS_DESC_DECERR;
        else if (resp_q == 2'b10) status = CPL_STATUS_DESC_SLVERR;
        else if (desc_len_q == 16'd0) status = CPL_STATUS_BAD_LENGTH;
        else if (more && over) status = CPL_STATUS_TRUNCATED;
    end

    always_comb begin
        plan_d = plan_q;
        case (plan_q)
            LOOK:
                if (take) plan_d = FIT;
                else if (refuse) plan_d = OFFER;
            FIT: plan_d = OFFER;
            OFFER: if (begins) plan_d = LOOK;
            default: plan_d = LOOK;
        endcase
    end

    // ---- plan: what the back will do

    logic             drop_q;      // nothing of the frame goes to memory from here on
    logic             write_q;     // data go there
    logic             over_q;      // no more of the frame goes there after this buffer
    logic             cut_q;       // and that is not all of it
    logic             void_q;      // the back begins with the plan, which moves no data
    logic             header_q;
    cpl_status_e      status_q;
    logic [16:0]      rows_behind; // in units of bytes: rows of the job behind its first
    logic [LaneW-1:0] end_lane;    // behind the job in its last row
    rx_cpl_t          entry;

    assign rows_behind = 17'(job_len) + (17'(job_lane) - 17'd1);
    assign end_lane    = LaneW'(job_len) + job_lane;

    always_comb begin
        entry        = info_entry;
        entry.index  = index_q;
        entry.len    = write_q ? job_len : 16'd0;
        entry.header = header_q;
        entry.last   = over_q;
        entry.status = status_q;
    end

    assign awake = s_meta_valid || plan_q != LOOK || inside_q || info_end || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            plan_q   <= plan_d;
            look_q   <= plan_d == LOOK && !(begins && over_q);
            info_end <= begins && over_q;
            if (plan_q == LOOK) begin
                if (!inside_q) begin
                    left_q       <= s_meta_len;
                    header_len_q <= info_header_len;
                    job_lane     <= '0;
                end
                split_q    <= !inside_q && cfg_header_split && info_header_len != 8'd0
                    && 16'(info_header_len) < s_meta_len;
                first_q    <= !inside_q;
                queue_q    <= head_queue;
                job_addr   <= AddrW'(desc.addr);
                desc_len_q <= desc.len;
                resp_q     <= head_resp;
                index_q    <= consumed[head_queue];
                another_q  <= posted_more[head_queue];
                drop_q     <= 1'b1;
                write_q    <= 1'b0;
                over_q     <= 1'b1;
                cut_q      <= 1'b1;
            end
            if (plan_q == FIT) begin
                job_len  <= headers ? 16'(header_len_q) : more ? desc_len_q : left_q;
                drop_q   <= 1'b0;
                write_q  <= write;
                over_q   <= over;
                cut_q    <= !write || (more && !another_q);
                header_q <= headers && write;
                status_q <= status;
            end
            if (begins) begin
                inside_q <= !over_q;
                left_q   <= left_q - job_len;
                job_lane <= end_lane;
            end
            if (rst) begin
                plan_q   <= LOOK;
                look_q   <= 1'b1;
                info_end <= 1'b0;
                inside_q <= 1'b0;
            end
        end
    end

    // ---- job: the last completion's place is free before the next job begins

    assign job_tag = queue_q;
    assign begins  = void_q || (job_valid && job_ready);

    always_ff @(posedge clk) begin
        if (awake) begin
            void_q <= plan_q == OFFER && !write_q && state_q == IDLE && (drop_q || !cpl_full)
                && !void_q;
            if (job_valid) job_valid <= !job_ready;
            else
                job_valid <= (plan_q == FIT ? write : plan_q == OFFER && write_q)
                    && state_q == IDLE && !cpl_full;
            if (rst) begin
                job_valid <= 1'b0;
                void_q    <= 1'b0;
            end
        end
    end

    // ---- back

    logic              dropped_q, data_q, end_q, broken_q;  // drop, write, over and cut of its plan
    logic              stays_q;       // its last row stays for the next job, or for DROP
    logic              last_beat_q;
    logic [15:0]       beats_left_q;  // behind the next
    rx_cpl_t           entry_q, finished;
    logic              step, checked, moving;

    assign step    = state_q == DATA && s_axis_tvalid && out_ready;
    assign checked = verdict_valid && (state_q == CHECK || (step && last_beat_q));

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE:
                if (begins && write_q) state_d = DATA;
                else if (begins) state_d = CHECK;
            DATA, CHECK:
                if (checked && broken_q) state_d = DROP;
                else if (checked) state_d = IDLE;
                else if (step && last_beat_q) state_d = CHECK;
            DROP: if (s_axis_tvalid && s_axis_tlast) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    assign moving = begins || state_q != IDLE || verdict_end || rst;

    always_ff @(posedge clk) begin
        if (moving) begin
            state_q     <= state_d;
            verdict_end <= checked && end_q;
            if (begins) begin
                cpl_queue    <= queue_q;
                cpl_first    <= first_q;
                dropped_q    <= drop_q;
                data_q       <= write_q;
                end_q        <= over_q;
                broken_q     <= cut_q;
                stays_q      <= over_q ? cut_q : end_lane != '0;
                entry_q      <= entry;
                beats_left_q <= 16'(rows_behind >> LaneW);
                // No rows behind; said of the length, so as not to wait for all of the sum.
                last_beat_q  <= job_len[15:LaneW+1] == '0 && rows_behind[LaneW+1:LaneW] == '0;
            end
            if (step) begin
                beats_left_q <= beats_left_q - 16'd1;
                last_beat_q  <= beats_left_q == 16'd1;
            end
            if (rst) begin
                state_q     <= IDLE;
                verdict_end <= 1'b0;
            end
        end
    end

    assign s_axis_tready = state_q == DROP
        || (state_q == DATA && out_ready && !(last_beat_q && stays_q));

    always_comb begin
        finished             = entry_q;
        finished.ip_csum_ok  = verdict[2];
        finished.l4_csum_ok  = verdict[1];
        finished.l4_csum_bad = verdict[0];
    end

    assign cpl_push     = checked && !dropped_q;
    assign cpl_entry    = finished;
    assign cpl_last     = end_q;
    assign cpl_has_data = data_q;

    // ---- out: two beats, so that nothing here waits for the bus within a clock

    logic             out_ready, spare_q;
    logic [DataW-1:0] spare_data_q;

    assign out_ready = !spare_q;

    always_ff @(posedge clk) begin
        m_axis_tvalid <= !rst && (step || spare_q || (m_axis_tvalid && !m_axis_tready));
        spare_q       <= !rst && m_axis_tvalid && !m_axis_tready && (step || spare_q);
        if (step) spare_data_q <= s_axis_tdata;
        if (!m_axis_tvalid || m_axis_tready) m_axis_tdata <= spare_q ? spare_data_q : s_axis_tdata;
    end

    assign busy = plan_q != LOOK || inside_q || info_end || state_q != IDLE || verdict_end
        || m_axis_tvalid;

endmodule

`default_nettype wire
