// Watches one valid/ready channel: once valid is high, valid and payload stay until ready, and
// neither is unknown out of reset.  `violation` is high in the cycle in which the rule is broken.
// It does not know what the payload means; the rules of bursts are checked where they are served.

`default_nettype none

module handshake_checker #(
    parameter int Width = 1
) (
    input  wire clk,
    input  wire rst,
    input  wire valid,
    input  wire ready,
    input  wire [Width-1:0] payload,
    output wire violation
);
    logic waiting_q;
    logic [Width-1:0] payload_q;

    always_ff @(posedge clk) begin
        waiting_q <= valid && !ready && !rst;
        if (valid && !ready) payload_q <= payload;
    end

    wire unknown = ((valid ^ ready) === 1'bx);
    wire unstable = waiting_q && (!valid || (payload !== payload_q));

    assign violation = !rst && (unknown || unstable);

endmodule

`default_nettype wire
