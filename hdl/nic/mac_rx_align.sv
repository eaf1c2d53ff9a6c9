// Finds frames in XGMII words and hands on their bytes from the first after the SFD, eight a
// word, whichever lane the frame started in.  It checks preamble and characters; FCS and length
// are not its business.
//
//   start in lane 0:  word = rx            start in lane 4:  word = {rx low, last rx high}
//
// Every start makes one frame with one `last`, `coded` if its preamble is broken, an error
// character is in it, or it ends on anything but a terminate.  A start inside a frame ends that
// frame and begins the next.  Only when a second start follows within the preamble of the first
// are the two reported as one broken frame.

`default_nettype none

module mac_rx_align (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic [63:0] xgmii_rxd,
    input  wire logic [7:0]  xgmii_rxc,

    // One word of a frame a clock, no gaps inside a frame.
    output      logic        word_valid,
    output      logic [63:0] word_data,   // bytes beyond word_bytes are zero
    output      logic [3:0]  word_bytes,  // 8, or 0..7 on the last
    output      logic        word_last,
    output      logic        word_coded,  // with word_last: coding error

    output      logic        busy
);

    typedef enum logic [1:0] {
        HUNT,    // waits for a start character
        FRAME,   // waits for a control character that ends the frame
        BROKEN   // the preamble was wrong: waits one clock to report it
    } state_e;

    state_e      state_q, state_d;
    logic        shift_q;        // the frame started in lane 4
    logic        error_q;        // an error character was seen in the frame
    logic        restart_q;      // the start now in the upper column broke another's preamble

    // ---- the word from the wire, and what its characters are

    logic [63:0] rx_q;
    logic [7:0]  stop_q;                     // lanes with a character that ends a frame,
    logic [7:0]  terminate_q, fault_q;       // a terminate, an error
    logic [1:0]  start_q;                    // a start in lane 0 or 4
    logic [1:0]  opens_q, follows_q;         // a column is the first or second of a preamble
    logic        quiet, quiet_q, awake;

    always_ff @(posedge clk) begin
        if (awake) begin
            rx_q <= xgmii_rxd;
            for (int i = 0; i < 8; i++) begin
                terminate_q[i] <= xgmii_rxc[i] && xgmii_rxd[8*i +: 8] == nic_pkg::XgmiiTerminate;
                fault_q[i]     <= xgmii_rxc[i] && xgmii_rxd[8*i +: 8] == nic_pkg::XgmiiError;
                stop_q[i]      <= xgmii_rxc[i] && xgmii_rxd[8*i +: 8] != nic_pkg::XgmiiError;
            end
            for (int i = 0; i < 2; i++) begin
                start_q[i] <= xgmii_rxc[4*i] && xgmii_rxd[32*i +: 8] == nic_pkg::XgmiiStart;
                opens_q[i] <= xgmii_rxc[4*i +: 4] == 4'b0001
                    && xgmii_rxd[32*i +: 32] == nic_pkg::XgmiiPreambleWord[31:0];
                follows_q[i] <= xgmii_rxc[4*i +: 4] == 4'b0000
                    && xgmii_rxd[32*i +: 32] == nic_pkg::XgmiiPreambleWord[63:32];
            end
            if (rst) begin
                stop_q      <= 8'hff;
                terminate_q <= '0;
                fault_q     <= '0;
                start_q     <= '0;
            end
        end
    end

    // ---- what ends a frame in each column, and whether an error comes before

    logic [1:0]  column_stops, column_terminated, column_error;

    for (genvar i = 0; i < 2; i++) begin : g_column
        logic [3:0] stop, open;  // a stop in the lane, none in those before

        assign stop = stop_q[4*i +: 4];
        assign open = ~{stop[2] | stop[1] | stop[0], stop[1] | stop[0], stop[0], 1'b0};

        assign column_stops[i]      = stop != '0;
        assign column_terminated[i] = |(terminate_q[4*i +: 4] & open);
        assign column_error[i]      = |(fault_q[4*i +: 4] & open);
    end

    // ---- the word as the frame under way sees it: its columns are [1] and [0], or [0] and the [1] of
    // the word before

    logic [31:0] high_q;
    logic [3:0]  high_stop_q;
    logic        high_stops_q, high_terminated_q, high_error_q;
    logic [63:0] frame_word;
    logic [7:0]  stops;          // characters that end a frame
    logic [7:0]  kept;           // lanes before the first of them
    logic [3:0]  bytes;          // how many
    logic        low_stops;      // one is in the lower column
    logic        ends;
    logic        terminated;     // that character is a terminate
    logic        error;          // an error character before it

    assign frame_word = shift_q ? {rx_q[31:0], high_q} : rx_q;
    assign stops      = shift_q ? {stop_q[3:0], high_stop_q} : stop_q;
    assign low_stops  = shift_q ? high_stops_q : column_stops[0];
    assign ends       = state_q == FRAME && stops != '0;

    always_comb begin
        for (int i = 0; i < 8; i++) kept[i] = (stops & ~(8'hfe << i)) == '0;
        bytes = 4'd8;
        for (int i = 7; i >= 0; i--) if (stops[i]) bytes = 4'(i);
        if (shift_q) begin
            terminated = low_stops ? high_terminated_q : column_terminated[0];
            error      = high_error_q || (!low_stops && column_error[0]);
        end else begin
            terminated = low_stops ? column_terminated[0] : column_terminated[1];
            error      = column_error[0] || (!low_stops && column_error[1]);
        end
    end

    // ---- starts: recognized in the clock that shows the whole preamble

    logic start_high_q, open_high_q;  // the word before had a start in lane 4, and all its column
    logic begins, preamble_ok;

    assign begins      = start_q[0] ? !start_q[1] : start_high_q;
    assign preamble_ok = !restart_q && !(start_q[0] && start_high_q)
        && (start_q[0] ? opens_q[0] && follows_q[1] : open_high_q && follows_q[0]);

    always_comb begin
        state_d = state_q;
        if (begins && preamble_ok) state_d = FRAME;
        else if (begins) state_d = BROKEN;
        else if (ends || state_q == BROKEN) state_d = HUNT;
    end

    // Outside frames a column that begins with an idle is idle, or means nothing to a receiver.
    assign quiet = xgmii_rxc == 8'hff && xgmii_rxd[7:0] == nic_pkg::XgmiiIdle
        && xgmii_rxd[39:32] == nic_pkg::XgmiiIdle;
    assign awake = !quiet || !quiet_q || start_high_q || state_q != HUNT || word_valid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            quiet_q           <= quiet;
            high_q            <= rx_q[63:32];
            high_stop_q       <= stop_q[7:4];
            high_stops_q      <= column_stops[1];
            high_terminated_q <= column_terminated[1];
            high_error_q      <= column_error[1];
            start_high_q      <= start_q[1];
            open_high_q       <= opens_q[1];
            restart_q         <= start_q[0] && start_q[1];
            state_q           <= state_d;
            word_valid        <= state_q != HUNT;
            if (state_q != HUNT) begin
                error_q    <= error_q || error;
                word_bytes <= bytes;
                word_last  <= ends || state_q == BROKEN;
                word_coded <= error_q || error || state_q == BROKEN || !terminated;
                for (int i = 0; i < 8; i++)
                    word_data[8*i +: 8] <= kept[i] ? frame_word[8*i +: 8] : 8'd0;
            end
            if (begins) begin
                shift_q <= !start_q[0];
                error_q <= 1'b0;
            end
            if (rst) begin
                state_q           <= HUNT;
                quiet_q           <= 1'b1;
                start_high_q      <= 1'b0;
                restart_q         <= 1'b0;
                high_stop_q       <= 4'hf;
                high_stops_q      <= 1'b1;
                high_terminated_q <= 1'b0;
                high_error_q      <= 1'b0;
                word_valid        <= 1'b0;
                shift_q           <= 1'b0;
            end
        end
    end

    assign busy = !quiet || !quiet_q || start_high_q || state_q != HUNT || word_valid;

endmodule

`default_nettype wire
