// Completions of one direction: holds them in the order of the frames, waits for the bus response
// to a frame's data where there are any, and writes the 16-byte entry.  Only the response to that
// write retires a descriptor.  Completions of a queue whose completion ring failed are dropped.
// A frame may have several: an error in one is repeated in those behind it, so that the last one
// tells of the whole frame, and the frame is counted with it.
//
//   engine -> waiting -> entry -> (response to its data) -> batch -> (response to the batch) -> retire

`default_nettype none

module cpl_writer
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int Depth = 8,
    parameter bit HasData = 1'b1,  // 0: no completion waits for a response to its data
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1,
    parameter int TagW = QueueW + 3
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    // rings
    input  wire logic [Queues-1:0][63:0] cpl_base,
    input  wire logic [Queues-1:0][3:0]  log2_entries,
    input  wire logic [Queues-1:0][15:0] mask,
    input  wire logic [Queues-1:0]       broken,
    output      logic [Queues-1:0]       retire,
    output      logic [1:0]              retire_resp,
    output      logic [Queues-1:0]       told,           // a clock later: its entry tells of one
    output      logic [3:0]              told_error,     // queue_error_e

    // engine: a completion, in the order of the frames
    input  wire logic                    push,
    output      logic                    push_full,
    input  wire logic [QueueW-1:0]       push_queue,
    input  wire logic [127:0]            push_entry,     // without phase and queue
    input  wire logic                    push_first,     // of its frame
    input  wire logic                    push_last,
    input  wire logic                    push_has_data,  // a response to its data follows
    input  wire logic                    data_done,      // the next of these responses
    input  wire logic [1:0]              data_resp,

    // write job and its data
    output      logic                    job_valid,
    input  wire logic                    job_ready,
    output      logic [AddrW-1:0]        job_addr,
    output      logic [15:0]             job_len,
    output      logic [TagW-1:0]         job_tag,        // entries and queue
    output      logic [DataW-1:0]        m_axis_tdata,
    output      logic                    m_axis_tvalid,
    input  wire logic                    m_axis_tready,
    input  wire logic                    done_valid,
    input  wire logic [TagW-1:0]         done_tag,
    input  wire logic [1:0]              done_resp,

    // one clock a frame, by what became of it
    output      logic [Queues-1:0]       ev_frame,
    output      logic [Queues-1:0]       ev_length,      // BAD_LENGTH or TRUNCATED
    output      logic [Queues-1:0]       ev_bus_error,

    output      logic                    busy
);

    localparam int CplBytes = 16;
    localparam int Batch = 4;  // entries in a write at most
    localparam int CountW = $clog2(Batch) + 1;

    // ---- waiting completions, and responses that came before it was their turn: as many, and one

    logic              waiting, waiting_first, waiting_last, waiting_has_data;
    logic [QueueW-1:0] waiting_queue;
    logic [127:0]      waiting_entry;
    logic              early, unused_early_full;
    logic [1:0]        early_resp;

    small_fifo #(.Width(QueueW + 128 + 3), .Depth(Depth)) u_waiting (
        .clk,
        .rst,
        .push,
        .push_data({push_queue, push_entry, push_first, push_last, push_has_data}),
        .full(push_full),
        .pop(load),
        .head({waiting_queue, waiting_entry, waiting_first, waiting_last, waiting_has_data}),
        .valid(waiting)
    );

    small_fifo #(.Width(2), .Depth(2 * Depth)) u_early (
        .clk,
        .rst,
        .push(data_done),
        .push_data(data_resp),
        .full(unused_early_full),
        .pop(taken_q),
        .head(early_resp),
        .valid(early)
    );

    // ---- entry: in a register, all but what the response to its data says

    rx_cpl_t      entry;  // what is touched here is at the same place in tx_cpl_t
    logic         answered, in_flight, status_full, drop_q, load;
    logic         taken_q;    // the response at the head has been taken, a clock ago
    logic         lost_ring;  // the ring of the entry is broken
    logic         batch_push, batch_ready, batch_take;
    logic [1:0]   resp;
    logic [3:0]   log2;
    logic [15:0]  slot;
    logic [63:0]  base;

    logic              entry_valid_q, entry_has_data_q, has_data;
    logic              place_first_q;                // of the ring
    logic              entry_first_q, entry_last_q;  // of its frame
    logic [QueueW-1:0] entry_queue_q;
    logic [AddrW-1:0]  entry_addr_q;
    rx_cpl_t           entry_q;
    cpl_status_e       failed_q;  // what an earlier completion of the frame said

    assign log2 = log2_entries[waiting_queue];
    assign base = cpl_base[waiting_queue];
    assign slot = waiting_entry[15:0] & mask[waiting_queue];

    assign has_data = HasData && entry_has_data_q;
    assign answered = !has_data || ((early || data_done) && !taken_q);
    assign resp     = early ? early_resp : data_resp;

    always_comb begin
        entry = entry_q;
        if (has_data && resp == 2'b11) entry.status = CPL_STATUS_DATA_DECERR;
        if (has_data && resp == 2'b10) entry.status = CPL_STATUS_DATA_SLVERR;
        if (!entry_first_q && failed_q != CPL_STATUS_OK) entry.status = failed_q;
    end

    // A drop waits for the writes under way, so that completions retire in order, and a clock more.
    assign lost_ring   = broken[entry_queue_q];
    assign batch_push  = entry_valid_q && answered && !lost_ring && !status_full;
    assign batch_take  = batch_push && batch_ready;
    assign load        = waiting && (!entry_valid_q || batch_take);

    always_ff @(posedge clk) begin
        if (load || entry_valid_q || taken_q || rst) begin
            drop_q  <= entry_valid_q && answered && lost_ring && !in_flight && !drop_q && !rst;
            taken_q <= (batch_take || drop_q) && has_data && !rst;
            if (batch_take || drop_q) begin
                entry_valid_q <= 1'b0;
                failed_q      <= entry.status;
            end
            if (load) begin
                entry_valid_q    <= 1'b1;
                entry_has_data_q <= waiting_has_data;
                place_first_q    <= slot == 16'd0;
                entry_first_q    <= waiting_first;
                entry_last_q     <= waiting_last;
                entry_queue_q    <= waiting_queue;
                entry_addr_q     <= AddrW'(base) | AddrW'(slot) * AddrW'(CplBytes);  // aligned
                entry_q          <= waiting_entry;
                entry_q.queue_id <= 4'(waiting_queue);
                entry_q.phase    <= 1'(~(waiting_entry[15:0] >> log2));
            end
            if (rst) entry_valid_q <= 1'b0;
        end
    end

    // ---- entries on their way to memory: batches, and for each what its response will retire

    logic [CountW-1:0] job_count;
    logic [QueueW-1:0] job_queue;
    logic              batch_busy;

    cpl_batch #(
        .DataW(DataW), .AddrW(AddrW), .QueueW(QueueW), .Depth(Depth), .Batch(Batch)
    ) u_batch (
        .clk,
        .rst,
        .push(batch_push),
        .ready(batch_ready),
        .push_queue(entry_queue_q),
        .push_addr(entry_addr_q),
        .push_first(place_first_q),
        .push_entry(entry),
        .job_valid,
        .job_ready,
        .job_addr,
        .job_count,
        .job_queue,
        .m_axis_tdata,
        .m_axis_tvalid,
        .m_axis_tready,
        .busy(batch_busy)
    );

    assign job_len = 16'(job_count) * 16'(CplBytes);
    assign job_tag = {job_count, job_queue};

    cpl_status_e done_status;
    logic        done_last, retiring;

    small_fifo #(.Width(5), .Depth(Depth)) u_status (
        .clk,
        .rst,
        .push(batch_take),
        .push_data({entry_last_q, entry.status}),
        .full(status_full),
        .pop(retiring),
        .head({done_last, done_status}),
        .valid(in_flight)
    );

    // ---- retire: one descriptor a clock, the first of a batch with its response.  While the others
    // of a batch retire, responses may have to wait.

    logic              at_once, rest_q, rest_ends, late, take_late, unused_late_full;
    logic [CountW-1:0] left_q, next_count;    // of the batch under way
    logic [QueueW-1:0] queue_id, rest_queue_q, next_queue;
    logic [1:0]        rest_resp_q, next_resp;
    logic [TagW+1:0]   late_head;
    logic              lost;  // the entry did not reach memory, or an earlier one did not

    assign at_once   = done_valid && !rest_q && !late;
    assign retiring  = at_once || rest_q;
    assign rest_ends = left_q == CountW'(1);
    assign take_late = late && (!rest_q || rest_ends);

    small_fifo #(.Width(TagW + 2), .Depth(Depth)) u_late (
        .clk,
        .rst,
        .push(done_valid && !at_once),
        .push_data({done_tag, done_resp}),
        .full(unused_late_full),
        .pop(take_late),
        .head(late_head),
        .valid(late)
    );

    assign {next_count, next_queue, next_resp} = late ? late_head : {done_tag, done_resp};

    always_ff @(posedge clk) begin
        if (retiring || late || rst) begin
            if (rest_q) left_q <= left_q - 1'b1;
            if (rest_q && rest_ends) rest_q <= 1'b0;
            if (take_late || at_once) begin
                rest_q       <= late || next_count != CountW'(1);
                left_q       <= late ? next_count : next_count - 1'b1;
                rest_queue_q <= next_queue;
                rest_resp_q  <= next_resp;
            end
            if (rst) rest_q <= 1'b0;
`ifndef SYNTHESIS
            assert (rst || !retiring || in_flight)
            else $fatal(1, "cpl_writer: a response that nobody waits for");
`endif
        end
    end

    assign retire_resp = rest_q ? rest_resp_q : done_resp;
    assign queue_id    = rest_q ? rest_queue_q : done_tag[QueueW-1:0];
    assign lost        = retire_resp[1] || broken[queue_id];

    always_comb begin
        retire       = '0;
        ev_frame     = '0;
        ev_length    = '0;
        ev_bus_error = '0;
        if (retiring) begin
            retire[queue_id] = 1'b1;
            if (done_last && lost) ev_bus_error[queue_id] = 1'b1;
            else if (done_last)
                case (done_status)
                    CPL_STATUS_OK:         ev_frame[queue_id] = 1'b1;
                    CPL_STATUS_BAD_LENGTH: ev_length[queue_id] = 1'b1;
                    CPL_STATUS_TRUNCATED:  ev_length[queue_id] = 1'b1;
                    default:               ev_bus_error[queue_id] = 1'b1;
                endcase
        end else if (drop_q) begin
            retire[entry_queue_q] = 1'b1;
            ev_bus_error[entry_queue_q] = entry_last_q;
        end
    end

    // ---- what stops a ring that does not run on; one whose completion is lost stops anyway

    queue_error_e error;

    always_comb begin
        case (done_status)
            CPL_STATUS_DATA_SLVERR: error = QUEUE_ERROR_DATA_SLVERR;
            CPL_STATUS_DATA_DECERR: error = QUEUE_ERROR_DATA_DECERR;
            CPL_STATUS_DESC_SLVERR: error = QUEUE_ERROR_DESC_SLVERR;
            CPL_STATUS_DESC_DECERR: error = QUEUE_ERROR_DESC_DECERR;
            default:                error = QUEUE_ERROR_NONE;
        endcase
    end

    always_ff @(posedge clk) begin
        told <= '0;
        if (retiring) begin
            told[queue_id] <= error != QUEUE_ERROR_NONE;
            told_error     <= error;
        end
        if (rst) told <= '0;
    end

    assign busy = waiting || entry_valid_q || in_flight || batch_busy;

endmodule

`default_nettype wire
