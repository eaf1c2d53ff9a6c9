// Completions of one direction: holds them in the order of the frames, waits for the bus response
// to a frame's data where there are any, and writes the 16-byte entry.  Only the response to that
// write retires a descriptor.  Completions of a queue whose completion ring failed are dropped.
//
//   engine -> waiting -> (response to its data) -> written -> (response to the entry) -> retire

`default_nettype none

module cpl_writer
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int Depth = 8,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic                    clk,
    input  wire logic                    rst,

    // rings
    input  wire logic [Queues-1:0][63:0] cpl_base,
    input  wire logic [Queues-1:0][3:0]  log2_entries,
    input  wire logic [Queues-1:0]       broken,
    output      logic [Queues-1:0]       retire,
    output      logic [1:0]              retire_resp,

    // engine: a completion, in the order of the frames
    input  wire logic                    push,
    output      logic                    push_full,
    input  wire logic [QueueW-1:0]       push_queue,
    input  wire logic [127:0]            push_entry,     // without phase and queue
    input  wire logic                    push_last,      // of its frame
    input  wire logic                    push_has_data,  // a response to its data follows
    input  wire logic                    data_done,      // the next of these responses
    input  wire logic [1:0]              data_resp,

    // write job and its data
    output      logic                    job_valid,
    input  wire logic                    job_ready,
    output      logic [AddrW-1:0]        job_addr,
    output      logic [15:0]             job_len,
    output      logic [QueueW-1:0]       job_tag,        // queue
    output      logic [DataW-1:0]        m_axis_tdata,
    output      logic                    m_axis_tvalid,
    input  wire logic                    m_axis_tready,
    input  wire logic                    done_valid,
    input  wire logic [QueueW-1:0]       done_tag,
    input  wire logic [1:0]              done_resp,

    // one clock a frame, by what became of it
    output      logic [Queues-1:0]       ev_frame,
    output      logic [Queues-1:0]       ev_length,      // BAD_LENGTH or TRUNCATED
    output      logic [Queues-1:0]       ev_bus_error,

    output      logic                    busy
);

    typedef enum logic [1:0] {
        IDLE,  // waits for a completion whose status is known
        JOB,   // waits for the DMA to take the job
        DATA   // waits for it to take the entry
    } state_e;

    localparam int CplBytes = 16;
    localparam int Beats = DataW < 128 ? 128 / DataW : 1;

    // ---- waiting completions, and responses that came before it was their turn

    logic              waiting, waiting_pop, waiting_last, waiting_has_data;
    logic [QueueW-1:0] waiting_queue;
    logic [127:0]      waiting_entry;
    logic              resp_valid, unused_resp_full;
    logic [1:0]        resp;

    small_fifo #(.Width(QueueW + 128 + 2), .Depth(Depth)) u_waiting (
        .clk,
        .rst,
        .push,
        .push_data({push_queue, push_entry, push_last, push_has_data}),
        .full(push_full),
        .pop(waiting_pop),
        .head({waiting_queue, waiting_entry, waiting_last, waiting_has_data}),
        .valid(waiting)
    );

    small_fifo #(.Width(2), .Depth(Depth)) u_data_resp (
        .clk,
        .rst,
        .push(data_done),
        .push_data(data_resp),
        .full(unused_resp_full),
        .pop(waiting_pop && waiting_has_data),
        .head(resp),
        .valid(resp_valid)
    );

    // ---- entry

    state_e       state_q, state_d;
    rx_cpl_t      entry;  // what is touched here is at the same place in tx_cpl_t
    logic         awake, known, in_flight, writing_full, drop, load, written;
    logic [3:0]   log2;
    logic [15:0]  slot;
    logic [63:0]  base;
    logic [127:0] entry_q;
    logic [1:0]   beats_left_q;

    assign known = waiting && (!waiting_has_data || resp_valid);
    assign log2  = log2_entries[waiting_queue];
    assign base  = cpl_base[waiting_queue];
    assign slot  = entry.index & ~(16'hffff << log2);

    always_comb begin
        entry          = waiting_entry;
        entry.queue_id = 4'(waiting_queue);
        entry.phase    = 1'(~(entry.index >> log2));
        if (waiting_has_data && resp == 2'b11) entry.status = CPL_STATUS_DATA_DECERR;
        if (waiting_has_data && resp == 2'b10) entry.status = CPL_STATUS_DATA_SLVERR;
    end

    // A drop waits for the writes under way, so that completions retire in order.
    assign drop        = state_q == IDLE && known && broken[waiting_queue] && !in_flight;
    assign load        = state_q == IDLE && known && !broken[waiting_queue] && !writing_full;
    assign waiting_pop = drop || load;
    assign awake       = load || state_q != IDLE || done_valid || rst;
    assign written     = state_q == DATA && m_axis_tready && beats_left_q == 2'd0;

    always_comb begin
        state_d = state_q;
        case (state_q)
            IDLE:    if (load) state_d = JOB;
            JOB:     if (job_ready) state_d = DATA;
            DATA:    if (written) state_d = IDLE;
            default: state_d = IDLE;
        endcase
    end

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q <= state_d;
            if (load) begin
                job_addr     <= AddrW'(base) + AddrW'(slot) * AddrW'(CplBytes);
                job_tag      <= waiting_queue;
                entry_q      <= entry;
                beats_left_q <= 2'(Beats - 1);
            end
            if (m_axis_tvalid && m_axis_tready) begin
                entry_q      <= 128'(entry_q >> (Beats > 1 ? DataW : 0));
                beats_left_q <= beats_left_q - 2'd1;
            end
            if (rst) state_q <= IDLE;
`ifndef SYNTHESIS
            assert (rst || !done_valid || in_flight)
            else $fatal(1, "cpl_writer: a response that nobody waits for");
`endif
        end
    end

    assign job_valid     = state_q == JOB;
    assign job_len       = 16'(CplBytes);
    assign m_axis_tvalid = state_q == DATA;
    assign m_axis_tdata  = DataW'(entry_q);

    // ---- entries on their way to memory

    cpl_status_e done_status;
    logic        done_last;
    logic        lost;  // the entry did not reach memory, or an earlier one did not

    small_fifo #(.Width(5), .Depth(Depth)) u_writing (
        .clk,
        .rst,
        .push(load),
        .push_data({waiting_last, entry.status}),
        .full(writing_full),
        .pop(done_valid),
        .head({done_last, done_status}),
        .valid(in_flight)
    );

    assign lost = done_resp[1] || broken[done_tag];

    always_comb begin
        retire       = '0;
        ev_frame     = '0;
        ev_length    = '0;
        ev_bus_error = '0;
        if (done_valid) begin
            retire[done_tag] = 1'b1;
            if (!done_last) ;
            else if (lost) ev_bus_error[done_tag] = 1'b1;
            else
                case (done_status)
                    CPL_STATUS_OK:         ev_frame[done_tag] = 1'b1;
                    CPL_STATUS_BAD_LENGTH: ev_length[done_tag] = 1'b1;
                    CPL_STATUS_TRUNCATED:  ev_length[done_tag] = 1'b1;
                    default:               ev_bus_error[done_tag] = 1'b1;
                endcase
        end else if (drop) begin
            retire[waiting_queue] = 1'b1;
            ev_bus_error[waiting_queue] = waiting_last;
        end
    end

    assign retire_resp = done_resp;
    assign busy        = waiting || in_flight || state_q != IDLE;

endmodule

`default_nettype wire
