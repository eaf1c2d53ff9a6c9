// Chooses the queue that sends the next frame.  Queues take turns by frames, but one that has sent
// more than a quantum pays for it: it waits until the others have had as many bytes, or until they
// have nothing to send.  So a queue of long frames gets no more of the wire than one of short ones.
//
//   eligible = wants and owes at most a quantum;   nobody eligible: everybody owes a quantum less
//
// Nothing is forgiven while nobody is to be chosen: others may yet come.

`default_nettype none

module tx_share #(
    parameter int Queues = 1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1,
    parameter int QuantumUnits = 32  // of 64 bytes, a power of two
) (
    input  wire logic              clk,
    input  wire logic              rst,

    input  wire logic [Queues-1:0] wants,
    input  wire logic              choose,        // the queue at `index`, if valid, is served now
    output      logic              valid,
    output      logic [QueueW-1:0] index,

    input  wire logic              charge,        // a frame of `charge_queue` has been taken
    input  wire logic [QueueW-1:0] charge_queue,
    input  wire logic [16:0]       charge_bytes
);

    localparam int DebtW = 12;  // the longest frame, on top of a quantum, in units
    localparam logic [DebtW-1:0] Quantum = DebtW'(QuantumUnits);

    logic [Queues-1:0] eligible;

    rr_arbiter #(.Requesters(Queues)) u_arbiter (
        .clk,
        .rst,
        .request(eligible),
        .advance(choose && valid),
        .valid,
        .index
    );

    if (Queues == 1) begin : g_one
        logic unused;

        assign eligible = wants;
        assign unused   = &{charge, charge_queue, charge_bytes};
    end else begin : g_several
        logic [DebtW-1:0] charge_units;
        logic             forgive;
        logic             unused_bytes;

        assign charge_units = DebtW'(charge_bytes >> 6) + 1'b1;
        assign unused_bytes = &charge_bytes[5:0];
        assign forgive      = choose && |wants && !(|eligible);

        for (genvar q = 0; q < Queues; q++) begin : g_queue
            logic [DebtW-1:0] debt_q;
            logic             mine;

            assign mine        = charge && charge_queue == QueueW'(q);
            assign eligible[q] = wants[q] && debt_q <= Quantum;

            always_ff @(posedge clk) begin
                if (mine || forgive || rst) begin
                    if (mine) debt_q <= debt_q + charge_units;
                    else debt_q <= debt_q > Quantum ? debt_q - Quantum : '0;
                    if (rst) debt_q <= '0;
                end
            end
        end
    end

endmodule

`default_nettype wire
