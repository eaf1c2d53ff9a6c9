// Finds the network header of a frame behind up to two VLAN tags (802.1Q, 802.1ad), and turns the
// frame's beats into words that begin where it begins: bytes 0 to 7 of IP in the first, and so on.
// It looks at no byte of IP.
//
//   IP at byte 14 or 22:  word = {beat[47:0], previous[63:48]}     (both are 6 modulo 8)
//   IP at byte 18:        word = {beat[15:0], previous[63:16]}
//
// Every frame ends with one `last`, three clocks after its last beat, whether it has words or not.

`default_nettype none

module l3_align (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic [63:0] s_axis_tdata,
    input  wire logic [7:0]  s_axis_tkeep,
    input  wire logic        s_axis_tvalid,
    input  wire logic        s_axis_tlast,

    output      logic        word_valid,
    output      logic        word_first,   // not if the frame ends before
    output      logic        word_last,    // the frame ends; may come without bytes
    output      logic [63:0] word_data,
    output      logic [3:0]  word_bytes,   // that the frame has of it, less than 8 at its end
    output      logic        word_ipv4,    // with every word of the frame
    output      logic        word_ipv6,
    output      logic [4:0]  word_offset,  // of IP in the frame: 14, 18, 22
    output      logic [15:0] word_tci,     // of the outer tag, if there is one

    output      logic        busy
);

    // Types as they stand in a beat, first byte low.
    localparam logic [15:0] TypeIpv4 = 16'h0008;
    localparam logic [15:0] TypeIpv6 = 16'hdd86;
    localparam logic [15:0] TypeCtag = 16'h0081;
    localparam logic [15:0] TypeStag = 16'ha888;

    function automatic logic is_tag(input logic [15:0] value);
        is_tag = value == TypeCtag || value == TypeStag;
    endfunction

    // ---- the beat under the eye and the one before

    logic        beat_valid_q, beat_last_q, end_q, started_q;
    logic [63:0] beat_q;
    logic [47:0] previous_q;            // its last six bytes
    logic [3:0]  bytes_q, end_bytes_q;  // of the last beat, also while end_q
    logic [1:0]  number_q;              // of that beat, 3 at most
    logic        awake;

    assign awake = s_axis_tvalid || beat_valid_q || end_q || word_valid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            beat_valid_q <= s_axis_tvalid;
            if (s_axis_tvalid) begin
                beat_q      <= s_axis_tdata;
                bytes_q     <= nic_pkg::keep_bytes(s_axis_tkeep);
                beat_last_q <= s_axis_tlast;
                started_q   <= !s_axis_tlast;
                number_q    <= !started_q ? 2'd0 : number_q == 2'd3 ? 2'd3 : number_q + 2'd1;
            end
            end_q <= beat_valid_q && beat_last_q;
            if (beat_valid_q) begin
                previous_q  <= beat_q[63:16];
                end_bytes_q <= bytes_q;
            end
            if (rst) begin
                beat_valid_q <= 1'b0;
                end_q        <= 1'b0;
                started_q    <= 1'b0;
            end
        end
    end

    // ---- types: at byte 12, at byte 16 behind a tag, at byte 20 behind two

    logic        tag_q, ipv4_q, ipv6_q;
    logic        second_tag_q, second_ipv4_q, second_ipv6_q, third_ipv4_q, third_ipv6_q;
    logic [15:0] tci_q;

    always_ff @(posedge clk) begin
        if (beat_valid_q && number_q == 2'd1) begin
            tag_q  <= is_tag(beat_q[47:32]);
            ipv4_q <= beat_q[47:32] == TypeIpv4;
            ipv6_q <= beat_q[47:32] == TypeIpv6;
            tci_q  <= {beat_q[55:48], beat_q[63:56]};
        end
        if (beat_valid_q && number_q == 2'd2) begin
            second_tag_q  <= is_tag(beat_q[15:0]);
            second_ipv4_q <= beat_q[15:0] == TypeIpv4;
            second_ipv6_q <= beat_q[15:0] == TypeIpv6;
            third_ipv4_q  <= beat_q[47:32] == TypeIpv4;
            third_ipv6_q  <= beat_q[47:32] == TypeIpv6;
        end
    end

    // ---- words

    logic [1:0] kept_number_q;  // of the frame's last beat, while end_q
    logic [1:0] number;
    logic       body, first, shift_2, ipv4, ipv6;
    logic [3:0] bytes;
    logic [3:0] room;           // bytes of the word that come from the beat

    assign number  = end_q ? kept_number_q : number_q;
    assign shift_2 = tag_q && !second_tag_q;
    assign ipv4    = !tag_q ? ipv4_q : second_tag_q ? third_ipv4_q : second_ipv4_q;
    assign ipv6    = !tag_q ? ipv6_q : second_tag_q ? third_ipv6_q : second_ipv6_q;
    assign body    = number == 2'd3 || (number == 2'd2 && !tag_q);
    assign room    = shift_2 ? 4'd2 : 4'd6;

    // The word with the last beat has what the beat before kept for it and up to `room` more bytes;
    // one more takes what is beyond.
    always_comb begin
        if (end_q) bytes = end_bytes_q > room ? end_bytes_q - room : 4'd0;
        else if (beat_last_q && bytes_q < room) bytes = 4'd8 - room + bytes_q;
        else bytes = 4'd8;
    end

    logic begun_q;  // the first word is out

    assign first = beat_valid_q && !end_q && body && !begun_q;

    always_ff @(posedge clk) begin
        if (awake) begin
            word_valid <= (beat_valid_q && body) || end_q;
            word_first <= first;
            word_last  <= end_q;
            if (beat_valid_q || end_q) begin
                word_data   <= shift_2
                    ? {end_q ? 16'd0 : beat_q[15:0], previous_q}
                    : {end_q ? 48'd0 : beat_q[47:0], previous_q[47:32]};
                word_bytes  <= bytes;
                word_ipv4   <= body && ipv4;
                word_ipv6   <= body && ipv6;
                word_offset <= !tag_q ? 5'd14 : shift_2 ? 5'd18 : 5'd22;
                word_tci    <= tci_q;
            end
            if (beat_valid_q) begin
                kept_number_q <= number_q;
                begun_q       <= body && !end_q && !beat_last_q;
            end
            if (rst) begin
                word_valid <= 1'b0;
                begun_q    <= 1'b0;
            end
        end
    end

    assign busy = beat_valid_q || end_q || word_valid;

endmodule

`default_nettype wire
