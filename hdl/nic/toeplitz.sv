// Toeplitz hash (Microsoft RSS) of a tuple that comes in columns of 32 bits, two a clock at most, in
// any order.  Input bit i, counted from the tuple's first, adds the key's bits i to i + 31.
//
//   columns -> their windows of the key -> XOR of the windows of their ones -> hash    3 clocks

`default_nettype none

module toeplitz (
    input  wire logic            clk,
    input  wire logic            rst,
    input  wire logic [319:0]    cfg_key,  // the key's first byte in bits 7:0

    input  wire logic            first,    // with a column or before: a new tuple
    input  wire logic [1:0]      use_column,
    input  wire logic [1:0][3:0] column,   // place in the tuple, 0 to 8
    input  wire logic [63:0]     data,     // two columns as they came, first byte low

    output      logic [31:0]     hash
);

    localparam int Columns = 9;

    // Bit 0 is the first.
    logic [319:0] key;
    logic [63:0]  bits;

    for (genvar i = 0; i < 320; i++) begin : g_key
        assign key[i] = cfg_key[(i ^ 7)];
    end
    for (genvar i = 0; i < 64; i++) begin : g_bits
        assign bits[i] = data[(i ^ 7)];
    end

    // ---- windows of the key, 63 bits for a column

    logic [62:0] low_window, high_window, low_window_q, high_window_q;
    logic [63:0] bits_q;
    logic        first_q, again_first_q;
    logic [1:0]  use_q;
    logic        used_q, awake;

    always_comb begin
        low_window  = '0;
        high_window = '0;
        for (int c = 0; c < Columns; c++) begin
            if (column[0] == 4'(c)) low_window = key[32*c+:63];
            if (column[1] == 4'(c)) high_window = key[32*c+:63];
        end
    end

    assign awake = first || use_column != '0 || first_q || use_q != '0 || again_first_q || used_q
        || rst;

    // ---- XOR, then the sum of both columns

    logic [31:0] low, high, low_q, high_q;

    for (genvar m = 0; m < 32; m++) begin : g_sum
        assign low[m]  = ^(bits_q[31:0] & low_window_q[m+:32]);
        assign high[m] = ^(bits_q[63:32] & high_window_q[m+:32]);
    end

    logic [31:0] sum_q;  // bit 0 is the hash's first, its most significant

    always_ff @(posedge clk) begin
        if (awake) begin
            first_q       <= first;
            use_q         <= use_column;
            again_first_q <= first_q;
            used_q        <= use_q != '0;
            low_window_q  <= low_window;
            high_window_q <= high_window;
            bits_q        <= bits & {{32{use_column[1]}}, {32{use_column[0]}}};
            low_q         <= low;
            high_q        <= high;
            sum_q         <= (again_first_q ? 32'd0 : sum_q) ^ low_q ^ high_q;
            if (rst) begin
                first_q       <= 1'b0;
                use_q         <= 2'b00;
                again_first_q <= 1'b0;
                used_q        <= 1'b0;
            end
        end
    end

    for (genvar i = 0; i < 32; i++) begin : g_hash
        assign hash[i] = sum_q[31-i];
    end

endmodule

`default_nettype wire
