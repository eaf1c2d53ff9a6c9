// Chooses the queue of a received frame: by the indirection table if it has an RSS hash, else the
// default queue.  A queue that does not exist stands for the last one.

`default_nettype none

module rx_steer #(
    parameter int Queues = 1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic [7:0]        cfg_default_queue,
    input  wire logic              hashed,
    input  wire logic [3:0]        table_queue,  // the indirection table's, for this hash
    output      logic [QueueW-1:0] queue_id
);

    logic [7:0] wanted;

    assign wanted   = hashed ? 8'(table_queue) : cfg_default_queue;
    assign queue_id = wanted < 8'(Queues) ? QueueW'(wanted) : QueueW'(Queues - 1);

endmodule

`default_nettype wire
