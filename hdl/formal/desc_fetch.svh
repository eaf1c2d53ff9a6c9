// What a ring asks for is asked for once, at its place, and stays until taken; every descriptor of
// a job is pushed once, to its ring, the last one with fetch_end: what queue_ring assumes of a
// fetch.  The stream brings the jobs in order, each with its bytes; a ring asks again when all has
// come.

    localparam int FBeats = 128 / DataW;

    logic [Queues-1:0][CountW-1:0] f_left_q = '0;  // descriptors to come
    logic [QueueW-1:0] f_first_q = '0;             // the queue of the oldest job
    logic [QueueW-1:0] f_asked_q;                  // of the job shown
    logic [AddrW-1:0]  f_addr_q;
    logic [CountW-1:0] f_count_q;
    logic [Queues-1:0] f_taken_q = '0;             // the DMA has its job
    logic         f_past_q = 1'b0;
    logic         f_half_q = 1'b0;                 // one beat of a descriptor is here
    logic [DataW-1:0] f_low_q;
    logic [1:0]   f_low_resp_q;
    logic [129:0] f_desc;
    logic         f_whole, f_begin;

    assign f_begin = fetch_begin != '0;
    assign f_whole = s_axis_tvalid && f_half_q;
    assign f_desc  = {f_low_resp_q > s_axis_tresp ? f_low_resp_q : s_axis_tresp, s_axis_tdata,
        f_low_q};

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        if (f_begin) begin
            f_asked_q <= queue_id;
            f_addr_q  <= AddrW'(desc_base[queue_id]) + (AddrW'(fetch_entry[queue_id]) << 4);
            f_count_q <= fetch_count[queue_id];
            f_left_q[queue_id] <= fetch_count[queue_id];
        end
        if (job_valid && job_ready) begin
            f_taken_q[f_asked_q] <= 1'b1;
            if (f_taken_q == '0 || fetch_end != '0) f_first_q <= f_asked_q;
        end else if (fetch_end != '0) f_first_q <= !f_first_q;
        if (s_axis_tvalid) begin
            f_half_q     <= !f_half_q;
            f_low_q      <= s_axis_tdata;
            f_low_resp_q <= s_axis_tresp;
        end
        if (f_whole) begin
            f_left_q[s_axis_ttag] <= f_left_q[s_axis_ttag] - 1'b1;
            if (s_axis_tlast) f_taken_q[s_axis_ttag] <= 1'b0;
        end
        if (rst) begin
            f_left_q  <= '0;
            f_taken_q <= '0;
            f_first_q <= '0;
            f_half_q  <= 1'b0;
        end

        for (int i = 0; i < Queues; i++)
            assume (!fetch_wanted[i] || (f_left_q[i] == '0 && fetch_count[i] != '0
                && 32'(fetch_count[i]) <= Prefetch));
        for (int i = 0; i < Queues; i++)  // rings are aligned
            assume ((AddrW'(desc_base[i]) & (AddrW'(fetch_entry[i]) << 4)) == '0);
        if (s_axis_tvalid) begin
            assume (f_taken_q[s_axis_ttag] && s_axis_ttag == f_first_q && s_axis_tkeep == '1);
            assume (s_axis_tlast == (f_half_q && f_left_q[s_axis_ttag] == CountW'(1)));
        end

        if (!rst) begin
            assert ((fetch_begin & (fetch_begin - 1'b1)) == '0);
            assert ((fetch_begin & ~fetch_wanted) == '0);
            assert (!f_begin || !job_valid);
            assert (job_valid || fetch_wanted == '0 || f_begin);
            if (job_valid) assert (job_tag == f_asked_q && job_addr == f_addr_q
                && job_len == 16'(f_count_q) << 4);
            if (f_past_q && $past(job_valid && !job_ready))
                assert (job_valid && $stable(job_tag) && $stable(job_addr) && $stable(job_len));

            assert (s_axis_tready);
            assert (fetch_push == (f_whole ? Queues'(1) << s_axis_ttag : '0));
            for (int i = 0; i < Queues; i++)
                assert (fetch_end[i] == (fetch_push[i] && f_left_q[i] == CountW'(1)));
            if (f_whole) assert (push_last == (f_desc[80] || f_desc[129]));

            // What the registers hold of it.
            assert (g_narrow.high_q == f_half_q);
            if (f_half_q) assert (g_narrow.low_q == f_low_q
                && g_narrow.low_resp_q == f_low_resp_q);
            for (int i = 0; i < Queues; i++) begin
                assert (!f_taken_q[i] || f_left_q[i] != '0);
                assert (!(job_valid && f_asked_q == QueueW'(i)) || (f_left_q[i] == f_count_q
                    && !f_taken_q[i] && f_count_q != '0));
            end
            assert (32'(f_left_q[0]) <= Prefetch && 32'(f_left_q[1]) <= Prefetch);
            cover (fetch_end == Queues'(2) && f_taken_q == '1);
            cover (ready != '0 && head_resp == 2'b11 && fetch_end != '0);
        end
    end
