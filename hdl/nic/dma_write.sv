// AXI4 write master: stores the streams of several clients at the addresses of their jobs, any
// alignment, with strobes that never cover a byte outside the job.  It keeps several bursts
// outstanding and tells each client when the last response of a job is in, with the worst of them.
// The data of a job must be there when the job is given (store and forward), or come soon.
//
//   jobs -> choice -> splitter -> AW                           B -> done
//              '-- open jobs (in order) -> stream of the client, shifted -> W
//
// The data of a burst come with its address or after it, never before.

`default_nettype none

module dma_write #(
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int IdW = 4,
    parameter int Clients = 3,
    parameter int TagW = 4,
    parameter int MaxBurstBytes = 512,
    parameter int MaxJobs = 8,
    parameter int MaxBursts = 16,
    parameter int ClientW = Clients > 1 ? $clog2(Clients) : 1,
    parameter int LaneW = $clog2(DataW / 8)
) (
    input  wire logic                          clk,
    input  wire logic                          rst,

    // jobs
    input  wire logic [Clients-1:0]            job_valid,
    output      logic [Clients-1:0]            job_ready,
    input  wire logic [Clients-1:0][AddrW-1:0] job_addr,
    input  wire logic [Clients-1:0][15:0]      job_len,        // bytes, not 0
    input  wire logic [Clients-1:0][TagW-1:0]  job_tag,
    input  wire logic [Clients-1:0][LaneW-1:0] job_lane,       // of the first byte in its beat

    // their data, from that lane on: as many beats as job_len takes
    input  wire logic [Clients-1:0][DataW-1:0] s_axis_tdata,
    input  wire logic [Clients-1:0]            s_axis_tvalid,
    output      logic [Clients-1:0]            s_axis_tready,

    // one clock per job, in the order of the jobs
    output      logic [Clients-1:0]            done_valid,
    output      logic [TagW-1:0]               done_tag,
    output      logic [1:0]                    done_resp,

    output      logic                          busy,

    // AXI4 write channels
    output      logic [IdW-1:0]                m_axi_awid,
    output      logic [AddrW-1:0]              m_axi_awaddr,
    output      logic [7:0]                    m_axi_awlen,
    output      logic [2:0]                    m_axi_awsize,
    output      logic [1:0]                    m_axi_awburst,
    output      logic                          m_axi_awlock,
    output      logic [3:0]                    m_axi_awcache,
    output      logic [2:0]                    m_axi_awprot,
    output      logic                          m_axi_awvalid,
    input  wire logic                          m_axi_awready,
    output      logic [DataW-1:0]              m_axi_wdata,
    output      logic [DataW/8-1:0]            m_axi_wstrb,
    output      logic                          m_axi_wlast,
    output      logic                          m_axi_wvalid,
    input  wire logic                          m_axi_wready,
    input  wire logic [IdW-1:0]                m_axi_bid,
    input  wire logic [1:0]                    m_axi_bresp,
    input  wire logic                          m_axi_bvalid,
    output      logic                          m_axi_bready
);

    localparam int BeatBytes = DataW / 8;
    localparam int BeatW = $clog2(BeatBytes);
    localparam int BurstW = $clog2(MaxBurstBytes);
    localparam int BurstCountW = $clog2(MaxBursts + 1);

    // ---- jobs

    logic [ClientW-1:0] client;
    logic [AddrW-1:0]   addr;
    logic               any_job, take_job, splitter_ready, open_full;

    // Client 0 goes first: what comes from the wire cannot wait, what goes there can.
    always_comb begin
        client = '0;
        for (int i = Clients - 1; i >= 0; i--) if (job_valid[i]) client = ClientW'(i);
    end

    assign any_job   = job_valid != '0;
    assign take_job  = any_job && splitter_ready && !open_full;
    assign addr      = job_addr[client];
    assign job_ready = take_job ? Clients'(1) << client : '0;

    // ---- AW: one burst a clock, at most MaxBursts without response

    logic               burst_valid, burst_take, burst_last, aw_awake;
    logic [AddrW-1:0]   burst_addr;
    logic [7:0]         burst_len;
    logic [ClientW-1:0] split_client_q;
    logic [TagW-1:0]    split_tag_q;
    logic               responses_full;

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
        .burst_last
    );

    assign burst_take = burst_valid && (!m_axi_awvalid || m_axi_awready) && !responses_full;
    assign aw_awake   = take_job || burst_take || m_axi_awvalid || rst;

    always_ff @(posedge clk) begin
        if (aw_awake) begin
            if (take_job) begin
                split_client_q <= client;
                split_tag_q    <= job_tag[client];
            end
            if (m_axi_awready) m_axi_awvalid <= 1'b0;
            if (burst_take) begin
                m_axi_awvalid <= 1'b1;
                m_axi_awaddr  <= burst_addr;
                m_axi_awlen   <= burst_len;
            end
            if (rst) m_axi_awvalid <= 1'b0;
        end
    end

    assign m_axi_awid    = '0;
    assign m_axi_awsize  = 3'(BeatW);
    assign m_axi_awburst = 2'b01;    // INCR
    assign m_axi_awlock  = 1'b0;
    assign m_axi_awcache = 4'b0011;  // normal, not cacheable, bufferable
    assign m_axi_awprot  = 3'b010;   // data, non-secure, unprivileged

    // ---- W: open jobs in order; the one under way has its figures ready in registers

    localparam int OpenW = ClientW + BurstW + LaneW + BeatW + 17;
    localparam int BeatCountW = BurstW - BeatW;

    logic               open_valid, load, job_end;
    logic [ClientW-1:0] open_client;
    logic [BurstW-1:0]  open_addr;  // within a burst
    logic [LaneW-1:0]   open_lane;  // of the first byte in the client's beat
    logic [BeatW-1:0]   last, open_last;  // the job's last byte, from 0, within a beat
    logic [16:0]        open_end;   // its lane, counted from the first beat
    logic [Clients-1:0][16:0] job_end_lane;  // of all jobs: added up before one is chosen

    assign last      = BeatW'(job_len[client]) - 1'b1;

    for (genvar i = 0; i < Clients; i++) begin : g_client
        logic [BeatW-1:0] offset;

        assign offset          = job_addr[i][BeatW-1:0];
        assign job_end_lane[i] = 17'(job_len[i]) + {{17 - BeatW{offset == '0}}, offset - 1'b1};
    end

    small_fifo #(.Width(OpenW), .Depth(MaxJobs)) u_open (
        .clk,
        .rst,
        .push(take_job),
        .push_data({client, addr[BurstW-1:0], job_lane[client], last, job_end_lane[client]}),
        .full(open_full),
        .pop(load),
        .head({open_client, open_addr, open_lane, open_last, open_end}),
        .valid(open_valid)
    );

    logic [BeatW-1:0]        open_offset;
    logic [BeatW:0]          open_in;      // carries: the last bytes come with a beat of their own
    logic [BeatW:0]          open_out;     // carries: they go with one
    logic                    open_down;    // the first byte moves to a lower lane

    assign open_offset = open_addr[BeatW-1:0];
    assign open_in     = (BeatW + 1)'(open_last) + (BeatW + 1)'(open_lane);
    assign open_out    = (BeatW + 1)'(open_last) + (BeatW + 1)'(open_offset);
    assign open_down   = open_lane > open_offset;

    logic                    active_q;      // a job is under way: the registers below are its
    logic                    prime_q;       // its first beat on the bus needs two: one is due
    logic                    first_q;       // its first beat is next
    logic                    last_q;        // its last beat is next
    logic                    spill_q;       // its last beat holds only what `previous` kept
    logic [ClientW-1:0]      client_q;
    logic [BeatW-1:0]        offset_q, shift_q, end_lane_q;
    logic [16-BeatW:0]       beats_left_q;  // behind the next
    logic [BeatCountW-1:0]   beat_q;        // the next, within a burst of full length
    logic [DataW-1:0]        previous_q;
    logic [BurstCountW-1:0]  addressed_q;   // bursts whose address is out, and their data not
    logic                    addressed_any_q;

    logic                    may_step, need, prime, step, burst_end, w_awake;
    logic [DataW-1:0]        current, shifted;
    logic [2*DataW-1:0]      window;
    logic [DataW/8-1:0]      strobe, from_first, to_last;

    assign need      = !(last_q && spill_q);
    assign prime     = active_q && prime_q && s_axis_tvalid[client_q];
    assign may_step  = active_q && !prime_q && addressed_any_q && (!m_axi_wvalid || m_axi_wready);
    assign step      = may_step && (!need || s_axis_tvalid[client_q]);
    assign job_end   = step && last_q;
    assign burst_end = step && (last_q || beat_q == '1);
    assign load      = open_valid && (!active_q || job_end);

    assign s_axis_tready = (active_q && prime_q) || (may_step && need)
        ? Clients'(1) << client_q : '0;

    assign current = s_axis_tdata[client_q];
    assign window  = {current, previous_q};
    assign shifted = window[DataW - 8 * 32'(shift_q) +: DataW];

    // All lanes, but for the first beat of a job and the last.
    assign from_first = {BeatBytes{1'b1}} << offset_q;
    assign to_last    = ~((~(BeatBytes'(1))) << end_lane_q);
    assign strobe     = (first_q ? from_first : '1) & (last_q ? to_last : '1);

    assign w_awake = open_valid || active_q || m_axi_wvalid || burst_take || rst;

    always_ff @(posedge clk) begin
        if (w_awake) begin
            if (m_axi_wready) m_axi_wvalid <= 1'b0;
            if (prime) prime_q <= 1'b0;
            if (prime || step) previous_q <= current;
            if (step) begin
                first_q      <= 1'b0;
                last_q       <= beats_left_q == (17 - BeatW)'(1);
                beats_left_q <= beats_left_q - 1'b1;
                beat_q       <= beat_q + 1'b1;
                m_axi_wvalid <= 1'b1;
                m_axi_wstrb  <= strobe;
                m_axi_wlast  <= burst_end;
                m_axi_wdata  <= shifted;
                for (int i = 0; i < BeatBytes; i++)
                    if (!strobe[i]) m_axi_wdata[8*i +: 8] <= 8'd0;
            end
            if (job_end) active_q <= 1'b0;
            if (load) begin
                active_q     <= 1'b1;
                prime_q      <= open_down;
                first_q      <= 1'b1;
                last_q       <= open_end[16:BeatW] == '0;
                spill_q      <= open_down ^ open_in[BeatW] ^ open_out[BeatW];
                client_q     <= open_client;
                offset_q     <= open_offset;
                shift_q      <= open_offset - open_lane;
                end_lane_q   <= open_end[BeatW-1:0];
                beats_left_q <= open_end[16:BeatW];
                beat_q       <= open_addr[BurstW-1:BeatW];
            end
            if (burst_take && !burst_end) addressed_q <= addressed_q + 1'b1;
            if (burst_end && !burst_take) addressed_q <= addressed_q - 1'b1;
            addressed_any_q <= burst_take
                || (addressed_any_q && !(burst_end && addressed_q == BurstCountW'(1)));
            if (rst) begin
                active_q        <= 1'b0;
                m_axi_wvalid    <= 1'b0;
                addressed_q     <= '0;
                addressed_any_q <= 1'b0;
            end
        end
    end

    // ---- B

    logic               response, response_valid, response_last, b_awake;
    logic [ClientW-1:0] response_client;
    logic [TagW-1:0]    response_tag;
    logic [1:0]         worst_q, worst;

    small_fifo #(.Width(ClientW + TagW + 1), .Depth(MaxBursts)) u_responses (
        .clk,
        .rst,
        .push(burst_take),
        .push_data({split_client_q, split_tag_q, burst_last}),
        .full(responses_full),
        .pop(response),
        .head({response_client, response_tag, response_last}),
        .valid(response_valid)
    );

    assign m_axi_bready = 1'b1;
    assign response     = m_axi_bvalid && response_valid;

    // EXOKAY cannot come, these are no exclusive accesses; it would be as good as OKAY.
    assign worst = m_axi_bresp[1] && m_axi_bresp > worst_q ? m_axi_bresp : worst_q;

    assign b_awake = m_axi_bvalid || done_valid != '0 || rst;

    always_ff @(posedge clk) begin
        if (b_awake) begin
            done_valid <= response && response_last ? Clients'(1) << response_client : '0;
            if (response) begin
                worst_q   <= response_last ? 2'b00 : worst;
                done_tag  <= response_tag;
                done_resp <= worst;
            end
            if (rst) begin
                worst_q    <= 2'b00;
                done_valid <= '0;
            end
`ifndef SYNTHESIS
            assert (rst || !m_axi_bvalid || response_valid)
            else $fatal(1, "dma_write: a response that nobody waits for");
            assert (rst || !m_axi_bvalid || m_axi_bid == '0)
            else $fatal(1, "dma_write: a response of a foreign id");
`endif
        end
    end

    assign busy = any_job || burst_valid || m_axi_awvalid || open_valid || active_q || m_axi_wvalid
        || response_valid || done_valid != '0;

endmodule

`default_nettype wire
