// AXI4 read master: fetches jobs (address, bytes) of several clients and delivers the bytes of each
// as one stream packet, moved to lane 0, in the order in which the jobs were taken.  It keeps
// several bursts outstanding, and never retries.  A job must only be given when its receiver has
// room for all of it: one stalled receiver stalls everybody.
//
//   jobs -> choice -> splitter -> AR            R -> shift to lane 0 -> stream
//              '---------- open jobs (in order) --------'
//
// A read takes whole beats at its end: up to DataW/8 - 1 bytes behind the job, in its last beat.

`default_nettype none

module dma_read #(
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int IdW = 4,
    parameter int Clients = 3,
    parameter int TagW = 4,
    parameter int MaxBurstBytes = 512,
    parameter int MaxJobs = 8,
    parameter int MaxBursts = 16,
    parameter int ClientW = Clients > 1 ? $clog2(Clients) : 1
) (
    input  wire logic                          clk,
    input  wire logic                          rst,

    // jobs
    input  wire logic [Clients-1:0]            job_valid,
    output      logic [Clients-1:0]            job_ready,
    input  wire logic [Clients-1:0][AddrW-1:0] job_addr,
    input  wire logic [Clients-1:0][15:0]      job_len,      // bytes, not 0
    input  wire logic [Clients-1:0][TagW-1:0]  job_tag,

    // their data
    output      logic [DataW-1:0]              m_axis_tdata,
    output      logic [DataW/8-1:0]            m_axis_tkeep,
    output      logic                          m_axis_tvalid,
    input  wire logic                          m_axis_tready,
    output      logic                          m_axis_tlast,
    output      logic [ClientW-1:0]            m_axis_tclient,
    output      logic [TagW-1:0]               m_axis_ttag,
    output      logic [1:0]                    m_axis_tresp,      // worst of this beat
    output      logic [1:0]                    m_axis_tresp_job,  // worst of the job up to here

    output      logic                          busy,

    // AXI4 read channels
    output      logic [IdW-1:0]                m_axi_arid,
    output      logic [AddrW-1:0]              m_axi_araddr,
    output      logic [7:0]                    m_axi_arlen,
    output      logic [2:0]                    m_axi_arsize,
    output      logic [1:0]                    m_axi_arburst,
    output      logic                          m_axi_arlock,
    output      logic [3:0]                    m_axi_arcache,
    output      logic [2:0]                    m_axi_arprot,
    output      logic                          m_axi_arvalid,
    input  wire logic                          m_axi_arready,
    input  wire logic [IdW-1:0]                m_axi_rid,
    input  wire logic [DataW-1:0]              m_axi_rdata,
    input  wire logic [1:0]                    m_axi_rresp,
    input  wire logic                          m_axi_rlast,
    input  wire logic                          m_axi_rvalid,
    output      logic                          m_axi_rready
);

    localparam int BeatBytes = DataW / 8;
    localparam int BeatW = $clog2(BeatBytes);
    localparam int BurstCountW = $clog2(MaxBursts + 1);

    // ---- jobs

    logic [ClientW-1:0] client;
    logic [AddrW-1:0]   addr;
    logic               any_job, take_job, splitter_ready, open_full;

    // Client 0 goes first: what comes from the wire cannot wait, what goes there can.
    always_comb begin
        client = ClientW'(Clients - 1);
        for (int i = Clients - 2; i >= 0; i--) if (job_valid[i]) client = ClientW'(i);
    end

    assign any_job   = job_valid != '0;
    assign take_job  = any_job && splitter_ready && !open_full;
    assign addr      = job_addr[client];
    assign job_ready = take_job ? Clients'(1) << client : '0;

    // ---- AR: one burst a clock, at most MaxBursts outstanding

    logic                   burst_valid, burst_take, ar_awake;
    logic                   ended_q;  // a burst, a clock ago: so old may `bursts_q` be
    logic                   unused_burst_last;
    logic [AddrW-1:0]       burst_addr;
    logic [7:0]             burst_len;
    logic [BurstCountW-1:0] bursts_q;

    burst_splitter #(.DataW(DataW), .AddrW(AddrW), .MaxBurstBytes(MaxBurstBytes)) u_splitter (
        .clk,
        .rst,
        .job_valid(any_job && !open_full),
        .job_ready(splitter_ready),
        .job_addr(addr),
        .job_len(job_len[client]),
        .burst_valid,
        .burst_ready(burst_take),
        .burst_addr,
        .burst_len,
        .burst_last(unused_burst_last)
    );

    assign burst_take = burst_valid && (!m_axi_arvalid || m_axi_arready)
        && bursts_q != BurstCountW'(MaxBursts);
    assign ar_awake   = burst_take || ended_q || m_axi_arvalid || rst;

    always_ff @(posedge clk) begin
        ended_q <= m_axi_rvalid && m_axi_rready && m_axi_rlast;
        if (ar_awake) begin
            if (m_axi_arready) m_axi_arvalid <= 1'b0;
            if (burst_take) begin
                m_axi_arvalid <= 1'b1;
                m_axi_araddr  <= burst_addr;
                m_axi_arlen   <= burst_len;
            end
            if (burst_take && !ended_q) bursts_q <= bursts_q + 1'b1;
            if (ended_q && !burst_take) bursts_q <= bursts_q - 1'b1;
            if (rst) begin
                m_axi_arvalid <= 1'b0;
                bursts_q      <= '0;
            end
        end
    end

    assign m_axi_arid    = '0;
    assign m_axi_arsize  = 3'(BeatW);
    assign m_axi_arburst = 2'b01;    // INCR
    assign m_axi_arlock  = 1'b0;
    assign m_axi_arcache = 4'b0011;  // normal, not cacheable, bufferable
    assign m_axi_arprot  = 3'b010;   // data, non-secure, unprivileged

    // ---- R: open jobs in order; the one under way has its figures ready in registers

    localparam int OpenW = ClientW + TagW + 2 * BeatW + 17 - BeatW;

    logic               open_valid, load, job_end;
    logic [ClientW-1:0] open_client;
    logic [TagW-1:0]    open_tag;
    logic               taken_q;                  // a clock ago: the splitter takes none now
    logic [ClientW-1:0] taken_client_q;
    logic [TagW-1:0]    taken_tag_q;
    logic [15:0]        taken_len_q;
    logic [BeatW-1:0]   taken_offset_q, open_offset;  // of the first byte in its beat
    logic [BeatW-1:0]   end_lane, open_end_lane;  // of the last byte where it is delivered
    logic [16-BeatW:0]  beats, open_beats;        // on the bus, behind the first
    logic               open_rest;                // the last leaves something for a beat of its own

    always_ff @(posedge clk) begin
        taken_q <= take_job && !rst;
        if (take_job) begin
            taken_client_q <= client;
            taken_tag_q    <= job_tag[client];
            taken_offset_q <= addr[BeatW-1:0];
            taken_len_q    <= job_len[client];
        end
    end

    assign end_lane  = BeatW'(taken_len_q) - 1'b1;
    assign beats     = (17 - BeatW)'((17'(taken_len_q)
        + {{17 - BeatW{taken_offset_q == '0}}, taken_offset_q - 1'b1}) >> BeatW);
    assign open_rest = open_offset != '0 && open_end_lane <= ~open_offset;

    small_fifo #(.Width(OpenW), .Depth(MaxJobs)) u_open (
        .clk,
        .rst,
        .push(taken_q),
        .push_data({taken_client_q, taken_tag_q, taken_offset_q, end_lane, beats}),
        .full(open_full),
        .pop(load),
        .head({open_client, open_tag, open_offset, open_end_lane, open_beats}),
        .valid(open_valid)
    );

    logic               active_q;      // a job is under way: the registers below are its
    logic               fill_q;        // its next beat only fills `previous`
    logic               last_q;        // its last beat is next
    logic               rest_q;        // and leaves a rest for a beat of its own
    logic               flush_q;       // that rest is all there is left to go
    logic [ClientW-1:0] client_q;
    logic [TagW-1:0]    tag_q;
    logic [BeatW-1:0]   offset_q;
    logic [BeatBytes-1:0] keep_q;      // of the beat that ends it
    logic [16-BeatW:0]  beats_left_q;  // behind the next
    logic [DataW-1:0]   previous_q;
    logic [1:0]         previous_resp_q, job_resp_q;

    logic               out_free, beat, step, awake;
    logic [1:0]         beat_resp, resp, job_resp;
    logic               previous_worse;
    logic [2*DataW-1:0] window;
    logic [DataW-1:0]   shifted;

    assign out_free     = !m_axis_tvalid || m_axis_tready;
    assign m_axi_rready = active_q && out_free && !flush_q;
    assign beat         = m_axi_rvalid && m_axi_rready;
    assign step         = flush_q ? out_free : beat && !fill_q;
    assign job_end      = flush_q ? out_free : beat && last_q && !rest_q;
    assign load         = open_valid && (!active_q || job_end);

    assign window  = {m_axi_rdata, previous_q};
    assign shifted = window[{offset_q == '0, offset_q, 3'd0} +: DataW];

    // EXOKAY cannot come, these are no exclusive accesses; it would be as good as OKAY.
    assign beat_resp = m_axi_rresp[1] ? m_axi_rresp : 2'b00;

    assign previous_worse = offset_q != '0 && previous_resp_q > beat_resp;

    assign resp     = flush_q || previous_worse ? previous_resp_q : beat_resp;
    assign job_resp = job_resp_q > resp ? job_resp_q : resp;

    assign awake = open_valid || m_axi_rvalid || step || m_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (beat) begin
                fill_q          <= 1'b0;
                last_q          <= beats_left_q == (17 - BeatW)'(1);
                beats_left_q    <= beats_left_q - 1'b1;
                flush_q         <= last_q && rest_q;
                previous_q      <= m_axi_rdata;
                previous_resp_q <= beat_resp;
                if (beat_resp > job_resp_q) job_resp_q <= beat_resp;
            end
            if (job_end) begin
                active_q <= 1'b0;
                flush_q  <= 1'b0;
            end
            if (load) begin
                active_q     <= 1'b1;
                fill_q       <= open_offset != '0;
                last_q       <= open_beats == '0;
                rest_q       <= open_rest;
                client_q     <= open_client;
                tag_q        <= open_tag;
                offset_q     <= open_offset;
                keep_q       <= ~((~(BeatBytes'(1))) << open_end_lane);
                beats_left_q <= open_beats;
                job_resp_q   <= 2'b00;
            end
            if (rst) begin
                active_q <= 1'b0;
                flush_q  <= 1'b0;
            end
`ifndef SYNTHESIS
            assert (rst || !m_axi_rvalid || bursts_q != '0)
            else $fatal(1, "dma_read: data that nobody asked for");
            assert (rst || !m_axi_rvalid || m_axi_rid == '0)
            else $fatal(1, "dma_read: data of a foreign id");
`endif
        end
    end

    // ---- stream

    logic [BeatBytes-1:0] keep;
    logic                 ends;  // the job ends with the beat that is next

    assign ends = flush_q || (last_q && !rest_q);
    assign keep = ends ? keep_q : {BeatBytes{1'b1}};

    always_ff @(posedge clk) begin
        if (awake) begin
            if (m_axis_tready) m_axis_tvalid <= 1'b0;
            if (step) begin
                m_axis_tvalid    <= 1'b1;
                m_axis_tkeep     <= keep;
                m_axis_tlast     <= ends;
                m_axis_tclient   <= client_q;
                m_axis_ttag      <= tag_q;
                m_axis_tresp     <= resp;
                m_axis_tresp_job <= job_resp;
                m_axis_tdata     <= shifted;
                for (int i = 0; i < BeatBytes; i++)
                    if (!keep[i]) m_axis_tdata[8*i +: 8] <= 8'd0;
            end
            if (rst) m_axis_tvalid <= 1'b0;
        end
    end

    assign busy = any_job || burst_valid || m_axi_arvalid || open_valid || active_q
        || m_axis_tvalid;

endmodule

`default_nettype wire
