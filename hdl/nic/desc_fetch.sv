// Descriptor prefetch of one direction: reads descriptors in bursts, as the rings ask for them,
// into a small store a queue, and shows the engine the next one of the queue it looks at.
// Indices live in queue_ring; a descriptor that the bus refused is stored with that response.
// A ring is aligned to its size, so an entry's place is put into its address and nothing is added.

`default_nettype none

module desc_fetch
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int Prefetch = 16,
    parameter int CountW = $clog2(Prefetch) + 1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic                          clk,
    input  wire logic                          rst,

    // rings
    input  wire logic [Queues-1:0][63:0]       desc_base,
    input  wire logic [Queues-1:0]             fetch_wanted,
    input  wire logic [Queues-1:0][CountW-1:0] fetch_count,
    input  wire logic [Queues-1:0][15:0]       fetch_entry,
    input  wire logic [Queues-1:0]             running,
    input  wire logic [Queues-1:0][15:0]       fetched,
    output      logic [Queues-1:0]             fetch_begin,
    output      logic [Queues-1:0]             fetch_push,
    output      logic [Queues-1:0]             fetch_end,
    output      logic                          push_last,      // TX: its frame ends here, or is cut

    // read jobs and their data
    output      logic                          job_valid,
    input  wire logic                          job_ready,
    output      logic [AddrW-1:0]              job_addr,
    output      logic [15:0]                   job_len,
    output      logic [QueueW-1:0]             job_tag,        // queue
    input  wire logic [DataW-1:0]              s_axis_tdata,
    input  wire logic [DataW/8-1:0]            s_axis_tkeep,
    input  wire logic                          s_axis_tvalid,
    output      logic                          s_axis_tready,
    input  wire logic                          s_axis_tlast,
    input  wire logic [QueueW-1:0]             s_axis_ttag,
    input  wire logic [1:0]                    s_axis_tresp,

    // engine: which queues show a descriptor, and that of the queue it names
    output      logic [Queues-1:0]             ready,
    input  wire logic [Queues-1:0]             pop,
    input  wire logic [QueueW-1:0]             head_queue,
    output      logic [127:0]                  head_desc,
    output      logic [1:0]                    head_resp,

    output      logic                          busy
);

    localparam int DescBytes = 16;

    // ---- ask: one job at a time, queues in turn

    logic              wanted, ask, job_awake;
    logic [QueueW-1:0] queue_id;
    logic [63:0]       base;

    rr_arbiter #(.Requesters(Queues)) u_arbiter (
        .clk,
        .rst,
        .request(fetch_wanted),
        .advance(ask),
        .valid(wanted),
        .index(queue_id)
    );

    assign ask         = wanted && !job_valid;
    assign base        = desc_base[queue_id];
    assign fetch_begin = ask ? Queues'(1) << queue_id : '0;
    assign job_awake   = ask || job_valid || rst;

    always_ff @(posedge clk) begin
        if (job_awake) begin
            if (job_ready) job_valid <= 1'b0;
            if (ask) begin
                job_valid <= 1'b1;
                job_addr  <= AddrW'(base) | AddrW'(fetch_entry[queue_id]) * AddrW'(DescBytes);
                job_len   <= 16'(fetch_count[queue_id]) * 16'(DescBytes);
                job_tag   <= queue_id;
            end
            if (rst) job_valid <= 1'b0;
        end
    end

    // ---- take: one descriptor a clock

    logic [127:0]      desc;
    logic [1:0]        desc_resp;
    logic              desc_valid, beat_end;
    logic [QueueW-1:0] into;

    if (DataW == 64) begin : g_narrow  // two beats a descriptor
        logic        high_q;
        logic [63:0] low_q;
        logic [1:0]  low_resp_q;
        logic        unused_keep;

        assign beat_end    = 1'b1;
        assign desc        = {s_axis_tdata, low_q};
        assign desc_resp   = low_resp_q > s_axis_tresp ? low_resp_q : s_axis_tresp;
        assign desc_valid  = s_axis_tvalid && high_q;
        assign unused_keep = &s_axis_tkeep;  // descriptors fill whole beats

        always_ff @(posedge clk) begin
            if (s_axis_tvalid) begin
                high_q     <= !high_q;
                low_q      <= s_axis_tdata;
                low_resp_q <= s_axis_tresp;
            end
            if (rst) high_q <= 1'b0;
        end
    end else begin : g_wide  // one or more descriptors a beat
        localparam int Slices = DataW / 128;
        localparam int SliceW = Slices > 1 ? $clog2(Slices) : 1;

        logic [SliceW-1:0] slice_q;
        logic [Slices:0]   there;  // one more than there are: none follows the last

        for (genvar i = 0; i < Slices; i++) begin : g_slice
            assign there[i] = s_axis_tkeep[DescBytes*i];
        end
        assign there[Slices] = 1'b0;

        assign beat_end   = !there[32'(slice_q) + 1];
        assign desc       = s_axis_tdata[128*slice_q +: 128];
        assign desc_resp  = s_axis_tresp;
        assign desc_valid = s_axis_tvalid;

        always_ff @(posedge clk) begin
            if (s_axis_tvalid) slice_q <= beat_end ? '0 : slice_q + 1'b1;
            if (rst) slice_q <= '0;
        end
    end

    assign into          = s_axis_ttag;
    assign s_axis_tready = beat_end;

    assign fetch_push    = desc_valid ? Queues'(1) << into : '0;
    assign fetch_end     = desc_valid && beat_end && s_axis_tlast ? Queues'(1) << into : '0;

    // A descriptor that could not be read ends its frame.
    // verilator lint_off UNUSEDSIGNAL
    tx_desc_t tx_desc;
    // verilator lint_on UNUSEDSIGNAL

    assign tx_desc   = desc;
    assign push_last = tx_desc.last || desc_resp[1];

    // ---- store

    logic [Queues-1:0]        shown;
    logic [Queues-1:0][129:0] head;

    for (genvar q = 0; q < Queues; q++) begin : g_queue
        desc_store #(.Width(130), .Depth(Prefetch)) u_store (
            .clk,
            .running(running[q]),
            .fetched(CountW'(fetched[q])),
            .push(fetch_push[q]),
            .push_data({desc_resp, desc}),
            .shown(shown[q]),
            .head(head[q]),
            .pop(pop[q])
        );
    end

    assign ready                  = shown & running;
    assign {head_resp, head_desc} = head[head_queue];

    assign busy = job_valid || s_axis_tvalid;

endmodule

`default_nettype wire
