// AXI4 read master: fetches jobs (address, bytes) of several clients and delivers the bytes of each
// as one stream packet, moved to lane 0, in the order in which the jobs were taken.  It keeps
// several bursts outstanding, and never retries.  A job must only be given when its receiver has
// room for all of it: one stalled receiver stalls everybody.
//
//   jobs -> arbiter -> splitter -> AR            R -> shift to lane 0 -> stream
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

    rr_arbiter #(.Requesters(Clients)) u_arbiter (
        .clk,
        .rst,
        .request(job_valid),
        .advance(take_job),
        .valid(any_job),
        .index(client)
    );

    assign take_job  = any_job && splitter_ready && !open_full;
    assign addr      = job_addr[client];
    assign job_ready = take_job ? Clients'(1) << client : '0;

    // ---- AR: one burst a clock, at most MaxBursts outstanding

    logic                   burst_valid, burst_take, burst_end, ar_awake;
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
    assign burst_end  = m_axi_rvalid && m_axi_rready && m_axi_rlast;
    assign ar_awake   = burst_take || burst_end || m_axi_arvalid || rst;

    always_ff @(posedge clk) begin
        if (ar_awake) begin
            if (m_axi_arready) m_axi_arvalid <= 1'b0;
            if (burst_take) begin
                m_axi_arvalid <= 1'b1;
                m_axi_araddr  <= burst_addr;
                m_axi_arlen   <= burst_len;
            end
            bursts_q <= bursts_q + BurstCountW'(burst_take) - BurstCountW'(burst_end);
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

    // ---- R: the job at the head of the open ones owns the beats

    localparam int OpenW = ClientW + TagW + BeatW + 16;

    logic               open_valid, job_end;
    logic [ClientW-1:0] open_client;
    logic [TagW-1:0]    open_tag;
    logic [BeatW-1:0]   open_offset;
    logic [15:0]        open_len;

    small_fifo #(.Width(OpenW), .Depth(MaxJobs)) u_open (
        .clk,
        .rst,
        .push(take_job),
        .push_data({client, job_tag[client], addr[BeatW-1:0], job_len[client]}),
        .full(open_full),
        .pop(job_end),
        .head({open_client, open_tag, open_offset, open_len}),
        .valid(open_valid)
    );

    logic               started_q;    // past the job's first beat
    logic               flush_q;      // all beats are here, the rest of the last one is to go
    logic [16:0]        in_left_q;    // bytes to come, with the lanes before the first byte
    logic [15:0]        out_left_q;   // bytes to deliver
    logic [DataW-1:0]   previous_q;
    logic [1:0]         previous_resp_q, job_resp_q;

    logic               out_free, beat, step, in_last, awake;
    logic [16:0]        in_left;
    logic [15:0]        out_left;
    logic [1:0]         beat_resp, resp, job_resp;
    logic               previous_worse;
    logic [2*DataW-1:0] window;
    logic [DataW-1:0]   shifted;

    assign out_free     = !m_axis_tvalid || m_axis_tready;
    assign m_axi_rready = open_valid && out_free && !flush_q;
    assign beat         = m_axi_rvalid && m_axi_rready;

    assign in_left  = started_q ? in_left_q : 17'(open_len) + 17'(open_offset);
    assign out_left = started_q ? out_left_q : open_len;
    assign in_last  = in_left <= 17'(BeatBytes);

    // The first beat of a job that does not begin in lane 0 only fills `previous`.
    assign step    = flush_q ? out_free : beat && (started_q || open_offset == '0);
    assign job_end = step && out_left <= 16'(BeatBytes);

    assign window  = {m_axi_rdata, previous_q};
    assign shifted = window[{open_offset == '0, open_offset, 3'd0} +: DataW];

    // EXOKAY cannot come, these are no exclusive accesses; it would be as good as OKAY.
    assign beat_resp = m_axi_rresp[1] ? m_axi_rresp : 2'b00;

    assign previous_worse = open_offset != '0 && previous_resp_q > beat_resp;

    assign resp     = flush_q || previous_worse ? previous_resp_q : beat_resp;
    assign job_resp = started_q && job_resp_q > resp ? job_resp_q : resp;

    assign awake = m_axi_rvalid || step || m_axis_tvalid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            if (beat) begin
                started_q       <= 1'b1;
                in_left_q       <= in_left - 17'(BeatBytes);
                out_left_q      <= out_left;
                previous_q      <= m_axi_rdata;
                previous_resp_q <= beat_resp;
                job_resp_q      <= started_q && job_resp_q > beat_resp ? job_resp_q : beat_resp;
                flush_q         <= in_last;
            end
            if (step) out_left_q <= out_left - 16'(BeatBytes);
            if (job_end || rst) begin
                started_q <= 1'b0;
                flush_q   <= 1'b0;
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

    assign keep = job_end ? ~({BeatBytes{1'b1}} << out_left[BeatW:0]) : {BeatBytes{1'b1}};

    always_ff @(posedge clk) begin
        if (awake) begin
            if (m_axis_tready) m_axis_tvalid <= 1'b0;
            if (step) begin
                m_axis_tvalid    <= 1'b1;
                m_axis_tkeep     <= keep;
                m_axis_tlast     <= job_end;
                m_axis_tclient   <= open_client;
                m_axis_ttag      <= open_tag;
                m_axis_tresp     <= resp;
                m_axis_tresp_job <= job_resp;
                m_axis_tdata     <= shifted;
                if (job_end)
                    for (int i = 0; i < BeatBytes; i++)
                        if (!keep[i]) m_axis_tdata[8*i +: 8] <= 8'd0;
            end
            if (rst) m_axis_tvalid <= 1'b0;
        end
    end

    assign busy = any_job || burst_valid || m_axi_arvalid || open_valid || m_axis_tvalid;

endmodule

`default_nettype wire
