// The descriptors of one ring that have been fetched, in order: a LUT RAM, and the next one in a
// register of its own.  The ring keeps the count: what it has fetched and not consumed is here.
//
//   push -> words -> head -> pop        a word is shown two clocks after it came
//
// A ring that does not run has none.

`default_nettype none

module desc_store #(
    parameter int Width = 130,
    parameter int Depth = 16,  // a power of two
    localparam int AddrW = $clog2(Depth)
) (
    input  wire logic             clk,
    input  wire logic             running,
    input  wire logic [AddrW:0]   fetched,    // index of the next to come, modulo twice the depth
    input  wire logic             push,
    input  wire logic [Width-1:0] push_data,
    output      logic             shown,
    output      logic [Width-1:0] head,
    input  wire logic             pop
);

    // A block RAM would take most of a clock to show a word.
    (* ram_style = "distributed" *) logic [Width-1:0] words_q [Depth];
    logic [AddrW:0] next_q;  // to be shown next
    logic           more, load;

    assign more = next_q != fetched;
    assign load = more && (!shown || pop);

    always_ff @(posedge clk) begin
        if (push) words_q[fetched[AddrW-1:0]] <= push_data;
        if (load) begin
            head   <= words_q[next_q[AddrW-1:0]];
            next_q <= next_q + 1'b1;
        end
        if (load || pop) shown <= load;
        if (!running) begin
            next_q <= '0;
            shown  <= 1'b0;
        end
    end

endmodule

`default_nettype wire
