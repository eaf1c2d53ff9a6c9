// Walks the headers of a frame, one word of l3_align a clock: IPv4 with options, IPv6 with extension
// headers, TCP, UDP.  It says of every word what belongs to which checksum and to the RSS hash, and
// where L4 begins.  It sums and hashes nothing itself.
//
//   V4:  word 0 | 1 | 2 .. (ihl columns of 4 bytes)              L4 may begin in either column
//   V6:  word 0 | 1 .. 4 (addresses) | extension headers ..      L4 begins with a word
//
// A fragment, a routing header with segments left, and a chain that ends in anything but TCP or UDP
// have no L4.  AH and what is unknown ends the chain.

`default_nettype none

module ip_parser
    import nic_regs_pkg::*;
(
    input  wire logic          clk,
    input  wire logic          rst,
    input  wire logic [2:0]    cfg_rss_ipv4,    // hash {UDP ports, TCP ports, addresses}
    input  wire logic [2:0]    cfg_rss_ipv6,

    // l3_align
    input  wire logic          word_valid,
    input  wire logic          word_first,
    input  wire logic          word_last,
    input  wire logic [63:0]   word_data,
    input  wire logic [3:0]    word_bytes,
    input  wire logic          word_ipv4,
    input  wire logic          word_ipv6,
    input  wire logic [4:0]    word_offset,

    // each word, a clock later
    output      logic          part_valid,
    output      logic          part_first,
    output      logic [63:0]   part_ip,         // IPv4 header; zero elsewhere
    output      logic [63:0]   part_l4,         // addresses and L4; zero elsewhere
    output      logic [63:0]   part_data,       // as it is
    output      logic [1:0]    tuple_use,       // columns that are hashed
    output      logic [1:0][3:0] tuple_column,  // their place in the tuple

    // one clock a frame, when the tuple is complete
    output      logic          tuple_end,
    output      hash_type_e    tuple_type,

    // L4 begins in this very word
    output      logic          start_low,
    output      logic          start_high,
    output      logic [15:0]   start_len,       // bytes of L4
    output      logic [7:0]    start_offset,    // in the frame; 0: too far in
    output      logic          start_tcp,       // else UDP

    // with the last part
    output      logic          part_last,
    output      logic          ip_whole,        // IPv4, header complete
    output      logic          ipv6,
    output      logic          cut,             // the frame ends inside the packet

    output      logic          busy
);

    typedef enum logic [2:0] {
        WAIT,  // waits for the first word
        V4,    // inside the IPv4 header
        V6,    // inside the IPv6 header
        EXT,   // at the first word of an extension header
        SKIP,  // inside an extension header
        L4,    // at the first word of TCP or UDP
        BODY,  // inside it
        DONE   // nothing more to know
    } state_e;

    localparam logic [7:0] HopByHop = 8'd0;
    localparam logic [7:0] Tcp = 8'd6;
    localparam logic [7:0] Udp = 8'd17;
    localparam logic [7:0] Routing = 8'd43;
    localparam logic [7:0] DestinationOptions = 8'd60;

    // What follows, by its protocol number.
    typedef struct packed {
        logic tcp;
        logic udp;
        logic extension;
        logic routing;
    } next_t;

    function automatic logic [3:0] next_of(input logic [7:0] protocol);
        next_of = {protocol == Tcp, protocol == Udp,
                   protocol == HopByHop || protocol == Routing || protocol == DestinationOptions,
                   protocol == Routing};
    endfunction

    function automatic state_e state_of(input logic l4, input logic extension);
        state_of = DONE;
        if (extension) state_of = EXT;
        if (l4) state_of = L4;
    endfunction

    state_e      state_q, state_d;
    next_t       next_q, next_d;
    logic        ipv4_q, fragment_q;
    logic [7:0]  count_q, count_d;      // V4: columns from this word on; V6, SKIP: words
    logic        one_q, two_q, one_d;   // it is 1 or 2
    logic [2:0]  number_q;              // of the word, 7 at most
    logic [15:0] left_q, left_d;        // bytes of the packet from this word on
    logic [7:0]  offset_q, offset_d;    // of this word in the frame
    logic        far_q;                 // it is too far in for `offset`
    logic        cut_now;
    logic        ip_done_q, ip_done;    // IPv4 header or IPv6 addresses were complete

    // ---- bytes

    logic        many_q, many_d, fits_4, fits_8;  // many: 8 bytes or more are left
    logic [3:0]  left_here;
    logic [63:0] left_mask;

    assign left_here = many_q ? 4'd8 : {1'b0, left_q[2:0]};
    assign left_mask = nic_pkg::bytes_mask(left_here);
    assign cut_now   = cut || (state_q != WAIT && word_bytes < left_here);
    assign fits_4    = (many_q || left_q[2]) && word_bytes >= 4'd4;
    assign fits_8    = many_q && word_bytes == 4'd8;

    // ---- what this word is

    logic        starts_v4, starts_v6, high_starts, low_starts, ports_low, ports_high, l4_next;
    logic        use_ports, tcp_now;
    logic [2:0]  cfg_rss;
    logic [1:0]  ip_columns, address_columns, l4_columns;
    next_t       next_byte_0, next_byte_1;
    logic [15:0] total_len, payload_len;

    assign starts_v4   = word_first && word_ipv4 && word_data[7:4] == 4'd4
        && word_data[3:0] >= 4'd5 && word_bytes == 4'd8;
    assign starts_v6   = word_first && word_ipv6 && word_data[7:4] == 4'd6 && word_bytes == 4'd8;
    assign total_len   = {word_data[23:16], word_data[31:24]};
    assign payload_len = {word_data[39:32], word_data[47:40]};
    assign next_byte_0 = next_of(word_data[7:0]);
    assign next_byte_1 = next_of(word_data[15:8]);

    assign l4_next     = (next_q.tcp || next_q.udp) && !fragment_q;
    assign high_starts = state_q == V4 && one_q && l4_next;
    assign low_starts  = state_q == L4;
    assign tcp_now     = next_q.tcp;
    assign cfg_rss     = ipv4_q ? cfg_rss_ipv4 : cfg_rss_ipv6;
    assign use_ports   = tcp_now ? cfg_rss[1] : cfg_rss[2];
    assign ports_low   = low_starts && fits_4 && use_ports;
    assign ports_high  = high_starts && fits_8 && use_ports;

    always_comb begin
        ip_columns      = {state_q == V4 && !one_q, state_q == V4};
        address_columns = 2'b00;
        if (state_q == V4 && number_q == 3'd1) address_columns = 2'b10;
        if (state_q == V4 && number_q == 3'd2) address_columns = 2'b01;
        if (state_q == V6) address_columns = 2'b11;
        l4_columns      = {state_q == L4 || state_q == BODY || high_starts,
                           state_q == L4 || state_q == BODY};
        if (starts_v4) ip_columns = 2'b11;
    end

    // ---- where it leads

    always_comb begin
        state_d  = state_q;
        next_d   = next_q;
        count_d  = count_q - 8'd1;
        one_d    = count_q == 8'd2;
        left_d   = many_q ? left_q - 16'd8 : 16'd0;
        many_d   = left_q[15:4] != '0;
        offset_d = offset_q + 8'd8;
        ip_done  = ip_done_q;
        case (state_q)
            V4: begin
                count_d = count_q - 8'd2;
                one_d   = count_q == 8'd3;
                if (number_q == 3'd1) next_d = next_byte_1;
                if (!(one_q ? fits_4 : fits_8)) state_d = DONE;
                else if (one_q || two_q) begin
                    ip_done = 1'b1;
                    state_d = DONE;
                    if (high_starts) state_d = BODY;
                    else if (l4_next) state_d = L4;
                end
            end
            V6:
                if (!fits_8) state_d = DONE;
                else if (one_q) begin
                    ip_done = 1'b1;
                    state_d = state_of(next_q.tcp || next_q.udp, next_q.extension);
                end
            EXT: begin
                next_d  = next_byte_0;
                count_d = word_data[15:8];
                one_d   = word_data[15:8] == 8'd1;
                if (!fits_8 || (next_q.routing && word_data[31:24] != 8'd0)) state_d = DONE;
                else if (word_data[15:8] != 8'd0) state_d = SKIP;
                else
                    state_d = state_of(next_byte_0.tcp || next_byte_0.udp, next_byte_0.extension);
            end
            SKIP: if (one_q) state_d = state_of(next_q.tcp || next_q.udp, next_q.extension);
            L4: state_d = BODY;
            default: ;
        endcase
        if (word_first) begin
            state_d  = DONE;
            if (starts_v4) state_d = V4;
            if (starts_v6) state_d = V6;
            next_d   = next_of(word_data[55:48]);
            one_d    = 1'b0;
            count_d  = word_ipv4 ? {4'd0, word_data[3:0]} - 8'd2 : 8'd4;
            left_d   = word_ipv4 ? total_len - 16'd8 : payload_len + 16'd32;
            if (word_ipv4 && total_len < 16'd8) left_d = 16'd0;
            if (word_ipv6 && payload_len > 16'd65503) left_d = 16'd65535;
            many_d   = !word_ipv4 || total_len[15:4] != '0;
            offset_d = {3'd0, word_offset} + 8'd8;
            ip_done  = 1'b0;
        end
        if (word_last) state_d = WAIT;
    end

    // ---- the tuple is complete: at the ports, or behind where it is clear that there are none

    logic        told_q, tells;
    hash_type_e  kind;

    assign tells = !told_q && (low_starts || high_starts || state_q == DONE || word_last);

    always_comb begin
        kind = HASH_TYPE_NONE;
        if (ip_done && cfg_rss[0]) kind = HASH_TYPE_ADDRESSES;
        if (ports_low || ports_high) begin
            kind = HASH_TYPE_UDP;
            if (tcp_now) kind = HASH_TYPE_TCP;
        end
    end

    logic awake;

    assign awake = word_valid || part_valid || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            part_valid <= word_valid;
            part_first <= word_valid && word_first;
            part_last  <= word_valid && word_last;
            tuple_end  <= word_valid && tells;
            tuple_use  <= word_valid ? {ports_high, ports_low} | address_columns : 2'b00;
            if (word_valid) begin
                state_q    <= state_d;
                next_q     <= next_d;
                count_q    <= count_d;
                one_q      <= one_d;
                two_q      <= !word_first && count_q == 8'd4;
                many_q     <= many_d;
                left_q     <= left_d;
                offset_q   <= offset_d;
                ip_done_q  <= ip_done;
                number_q   <= word_first ? 3'd1 : number_q == 3'd7 ? 3'd7 : number_q + 3'd1;
                cut        <= !word_first && cut_now;
                far_q      <= !word_first && (far_q || offset_q >= 8'd160);
                if (word_first) begin
                    ipv4_q     <= word_ipv4;
                    fragment_q <= word_ipv4 && ({word_data[52:48], word_data[63:56]} != '0
                        || word_data[53]);
                end
                told_q     <= !word_last && (!word_first && told_q || tells);
                if (tells) tuple_type <= kind;
                part_data  <= word_data;
                part_ip    <= word_data & {{32{ip_columns[1]}}, {32{ip_columns[0]}}};
                part_l4    <= word_data
                    & ({{32{address_columns[1]}}, {32{address_columns[0]}}}
                        | (left_mask & {{32{l4_columns[1]}}, {32{l4_columns[0]}}}));
            end
            if (rst) begin
                state_q    <= WAIT;
                told_q     <= 1'b0;
                part_valid <= 1'b0;
                part_last  <= 1'b0;
                tuple_end  <= 1'b0;
                tuple_use  <= 2'b00;
            end
        end
    end

    always_ff @(posedge clk) begin
        if (word_valid) begin
            tuple_column[0] <= state_q == L4 ? (ipv4_q ? 4'd2 : 4'd8)
                : ipv4_q ? 4'd1 : {1'b0, number_q - 3'd1} << 1;
            tuple_column[1] <= ipv4_q ? (number_q == 3'd1 ? 4'd0 : 4'd2)
                : ({1'b0, number_q - 3'd1} << 1) + 4'd1;
        end
    end

    assign start_low    = word_valid && low_starts;
    assign start_high   = word_valid && high_starts && fits_4;
    assign start_len    = high_starts ? left_q - 16'd4 : left_q;
    assign start_offset = far_q ? 8'd0 : high_starts ? offset_q + 8'd4 : offset_q;
    assign start_tcp    = next_q.tcp;
    assign ip_whole     = ip_done_q && ipv4_q;
    assign ipv6         = !ipv4_q;
    assign busy         = part_valid || state_q != WAIT;

endmodule

`default_nettype wire
