// Chooses the queue of a received frame: the default queue, the last one when the register names
// one that does not exist.  Rules that look into frames belong here.

`default_nettype none

module rx_steer #(
    parameter int Queues = 1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic [7:0]        cfg_default_queue,
    output      logic [QueueW-1:0] queue_id
);

    assign queue_id = cfg_default_queue < 8'(Queues) ? QueueW'(cfg_default_queue)
                                                     : QueueW'(Queues - 1);

endmodule

`default_nettype wire
