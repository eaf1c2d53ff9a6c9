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
    logic [31:0] high_q;         // upper column of the last word
    logic [3:0]  high_control_q;

    // ---- the word as the frame under way sees it

    logic [63:0] shifted, frame_word;
    logic [7:0]  shifted_control, frame_control;

    assign shifted         = {xgmii_rxd[31:0], high_q};
    assign shifted_control = {xgmii_rxc[3:0], high_control_q};
    assign frame_word      = shift_q ? shifted : xgmii_rxd;
    assign frame_control   = shift_q ? shifted_control : xgmii_rxc;

    logic [63:0] last_word;  // the word if it holds a control character
    logic [3:0] bytes;       // before the first character that ends the frame
    logic [63:0] mask;       // their bits
    logic       ends;
    logic       terminated;  // that character is a terminate
    logic       error;       // an error character before it

    assign last_word = state_q == FRAME && frame_control != 8'h00 ? frame_word : 64'd0;
    assign mask      = nic_pkg::bytes_mask(bytes);

    always_comb begin
        bytes      = 4'd8;
        ends       = 1'b0;
        terminated = 1'b0;
        error      = 1'b0;
        if (state_q == FRAME && frame_control != 8'h00) begin
            for (int lane = 0; lane < 8; lane++) begin
                if (frame_control[lane] && !ends) begin
                    if (last_word[8*lane+:8] == nic_pkg::XgmiiError) begin
                        error = 1'b1;
                    end else begin
                        bytes      = 4'(lane);
                        ends       = 1'b1;
                        terminated = last_word[8*lane+:8] == nic_pkg::XgmiiTerminate;
                    end
                end
            end
        end
    end

    // ---- starts: recognized in the clock that shows the whole preamble

    logic [63:0] control_word;   // the word from the wire if it holds a control character
    logic [63:0] preamble;       // the word that begins with a start
    logic [7:0]  preamble_control;
    logic start_low, start_high_q, start_next;
    logic begins, preamble_ok, quiet, quiet_q, awake;

    assign control_word = xgmii_rxc != 8'h00 ? xgmii_rxd : 64'd0;
    assign start_low    = xgmii_rxc[0] && control_word[7:0] == nic_pkg::XgmiiStart;
    assign start_next   = xgmii_rxc[4] && control_word[39:32] == nic_pkg::XgmiiStart;

    assign begins           = start_low ? !start_next : start_high_q;
    assign preamble         = start_low ? control_word : start_high_q ? shifted : 64'd0;
    assign preamble_control = start_low ? xgmii_rxc : shifted_control;
    assign preamble_ok      = !restart_q && !(start_low && start_high_q)
        && preamble_control == 8'h01 && preamble == nic_pkg::XgmiiPreambleWord;

    always_comb begin
        state_d = state_q;
        if (begins && preamble_ok) state_d = FRAME;
        else if (begins) state_d = BROKEN;
        else if (ends || state_q == BROKEN) state_d = HUNT;
    end

    assign quiet = xgmii_rxc == 8'hff && control_word == nic_pkg::XgmiiIdleWord;
    assign awake = !quiet || !quiet_q || state_q != HUNT || word_valid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            quiet_q        <= quiet;
            high_q         <= xgmii_rxd[63:32];
            high_control_q <= xgmii_rxc[7:4];
            start_high_q   <= start_next;
            restart_q      <= start_low && start_next;
            state_q        <= state_d;
            word_valid     <= state_q != HUNT;
            if (state_q != HUNT) begin
                error_q    <= error_q || error;
                word_data  <= frame_word & mask;
                word_bytes <= bytes;
                word_last  <= ends || state_q == BROKEN;
                word_coded <= error_q || error || !terminated;
            end
            if (begins) begin
                shift_q <= !start_low;
                error_q <= 1'b0;
            end
            if (rst) begin
                state_q        <= HUNT;
                quiet_q        <= 1'b0;
                start_high_q   <= 1'b0;
                restart_q      <= 1'b0;
                high_control_q <= 4'hf;
                high_q         <= nic_pkg::XgmiiIdleWord[63:32];
                word_valid     <= 1'b0;
                shift_q        <= 1'b0;
            end
        end
    end

    assign busy = !quiet || start_high_q || state_q != HUNT || word_valid;

endmodule

`default_nettype wire
