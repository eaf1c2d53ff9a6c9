// Sorts the events of all blocks into the order of the counters.  Combinational.

`default_nettype none

module nic_events
    import nic_pkg::*;
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1
) (
    // wire side
    input  wire logic                              rx_valid,
    input  wire logic [2:0]                        rx_verdict,
    input  wire logic [15:0]                       rx_len,
    input  wire logic                              tx_frame,
    input  wire logic [15:0]                       tx_len,
    input  wire logic                              tx_underrun,

    // bus side, a bit a queue
    input  wire logic [Queues-1:0]                 rx_no_descriptor,
    input  wire logic [Queues-1:0]                 rx_disabled,
    input  wire logic [Queues-1:0]                 rx_bus_error,
    input  wire logic [Queues-1:0]                 rx_truncated,
    input  wire logic [Queues-1:0]                 rx_delivered,
    input  wire logic [Queues-1:0]                 tx_bus_error,
    input  wire logic [Queues-1:0]                 tx_bad_length,
    input  wire logic [Queues-1:0]                 tx_handed_over,

    input  wire logic [15:0]                       doorbell_errors,

    input  wire logic                              tx_pause,

    output      logic [COUNTERS-1:0][15:0]         steps,
    output      logic [Queues-1:0][Q_COUNTERS-1:0] queue_events
);

    logic stored;

    assign stored = rx_valid && rx_verdict == RX_OK;

    assign steps[CNT_RX_FRAMES]       = 16'(stored);
    assign steps[CNT_RX_BYTES]        = stored ? rx_len : 16'd0;
    assign steps[CNT_RX_BAD_FCS]      = 16'(rx_valid && rx_verdict == RX_BAD_FCS);
    assign steps[CNT_RX_RUNT]         = 16'(rx_valid && rx_verdict == RX_RUNT);
    assign steps[CNT_RX_OVERSIZE]     = 16'(rx_valid && rx_verdict == RX_OVERSIZE);
    assign steps[CNT_RX_CODED_ERROR]  = 16'(rx_valid && rx_verdict == RX_CODED_ERROR);
    assign steps[CNT_RX_OVERFLOW]     = 16'(rx_valid && rx_verdict == RX_OVERFLOW);
    assign steps[CNT_RX_FILTERED]     = 16'(rx_valid && rx_verdict == RX_FILTERED);
    assign steps[CNT_TX_FRAMES]       = 16'(tx_frame);
    assign steps[CNT_TX_BYTES]        = tx_frame ? tx_len : 16'd0;
    assign steps[CNT_TX_UNDERRUN]     = 16'(tx_underrun);
    assign steps[CNT_DOORBELL_ERRORS] = doorbell_errors;
    assign steps[CNT_RX_PAUSE]        = 16'(rx_valid && rx_verdict == RX_PAUSE);
    assign steps[CNT_TX_PAUSE]        = 16'(tx_pause);

    for (genvar q = 0; q < Queues; q++) begin : g_queue
        assign queue_events[q][Q_CNT_RX_NO_DESCRIPTOR]    = rx_no_descriptor[q];
        assign queue_events[q][Q_CNT_RX_DISABLED]         = rx_disabled[q];
        assign queue_events[q][Q_CNT_RX_BUS_ERROR]        = rx_bus_error[q];
        assign queue_events[q][Q_CNT_RX_TRUNCATED]        = rx_truncated[q];
        assign queue_events[q][Q_CNT_RX_FRAMES]           = rx_delivered[q];
        assign queue_events[q][Q_CNT_TX_BUS_ERROR]        = tx_bus_error[q];
        assign queue_events[q][Q_CNT_TX_BAD_LENGTH]       = tx_bad_length[q];
        assign queue_events[q][Q_CNT_TX_FRAMES]           = tx_handed_over[q];
    end

endmodule

`default_nettype wire
