// Internet checksum (RFC 1071) of frames that pass by, a word a clock: the ones' complement of the
// sum from `start` to the end.  The result comes five clocks after the frame's last word, in the
// order of the frames that ask for one.  A sum is the same in either byte order, so bytes are added
// as they lie and the result is stored as it is.  0 becomes 0xffff, as in Linux.

`default_nettype none

module tx_checksum (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic        valid,
    input  wire logic [63:0] data,
    input  wire logic [3:0]  bytes,      // 8, or with last 1 to 8
    input  wire logic        last,
    input  wire logic        wanted,     // with last: the result is
    input  wire logic [7:0]  start,      // in 2 bytes from the frame's first

    output      logic        soon,       // `done` comes with the next clock
    output      logic        done,
    output      logic [15:0] checksum
);

    // ---- mask, add, accumulate, fold twice: a stage each

    logic [5:0]  index_q;                       // of the word; beyond all starts it stays
    logic        masked_valid_q, masked_first_q, masked_done_q;
    logic [63:0] masked_q;
    logic        added_valid_q, added_first_q, added_done_q;
    logic [17:0] added_q;
    logic        summed_done_q;
    logic [31:0] summed_q;
    logic        once_done_q;
    logic [16:0] once_q;
    logic [15:0] folded;
    logic [63:0] counted;                       // not what comes before `start`
    logic        awake;

    assign soon  = once_done_q;
    assign awake = valid || masked_valid_q || added_valid_q || summed_done_q || once_done_q || done
        || rst;
    assign folded = once_q[15:0] + 16'(once_q[16]);

    always_comb begin
        counted = '1;
        if (index_q == start[7:2]) counted = counted << {start[1:0], 4'd0};
        if (index_q < start[7:2]) counted = '0;
    end

    always_ff @(posedge clk) begin
        if (awake) begin
            masked_valid_q <= valid;
            masked_done_q  <= valid && last && wanted;
            if (valid) begin
                masked_first_q <= index_q == '0;
                index_q        <= last ? '0 : &index_q ? index_q : index_q + 1'b1;
            end
            masked_q      <= data & nic_pkg::bytes_mask(bytes) & counted;
            added_valid_q <= masked_valid_q;
            added_done_q  <= masked_done_q;
            added_first_q <= masked_first_q;
            added_q <= (18'(masked_q[15:0]) + 18'(masked_q[31:16]))
                + (18'(masked_q[47:32]) + 18'(masked_q[63:48]));
            summed_done_q <= added_done_q;
            if (added_valid_q) summed_q <= (added_first_q ? '0 : summed_q) + 32'(added_q);
            once_done_q <= summed_done_q;
            once_q      <= {1'b0, summed_q[15:0]} + {1'b0, summed_q[31:16]};
            done        <= once_done_q;
            checksum <= folded == 16'hffff ? 16'hffff : ~folded;
            if (rst) begin  // whatever is in the sum: a frame's first word begins it anew
                masked_done_q <= 1'b0;
                added_done_q  <= 1'b0;
                summed_done_q <= 1'b0;
                once_done_q   <= 1'b0;
                done          <= 1'b0;
                index_q       <= '0;
            end
        end
    end

endmodule

`default_nettype wire
