// The header of a frame that is cut into segments: holds it, finds the fields that differ from
// segment to segment, and plays it for each of them with the fields as they have to be.
//
// While the header comes in (`store`), a second look two words behind (`scan`) takes the fields'
// first values out of it and sums the IPv4 header, for by then it is known where that begins.
// Positions count 16-bit units from the frame's first byte: l3 the IP header, csum_start TCP's.

`default_nettype none

module tx_header
    import tx_pkg::*;
(
    input  wire logic        clk,
    input  wire logic        rst,

    // Only a part of it matters here.
    // verilator lint_off UNUSEDSIGNAL
    input  wire tx_frame_t   frame,
    // verilator lint_on UNUSEDSIGNAL

    // the header's words, one after the other from `begins` on
    input  wire logic        begins,
    input  wire logic        store,
    input  wire logic [63:0] store_data,
    input  wire logic [5:0]  stored,      // words so far
    input  wire logic        all_stored,
    output      logic        known,       // `length` is: before the header's last word can come
    output      logic [8:0]  length,      // bytes of the header
    output      logic        scanned,     // all fields are known; `good`, too
    output      logic        good,        // a TCP segment in IPv4 or IPv6

    // segments: `next` begins one with `payload` bytes, the clock after
    input  wire logic        next,
    input  wire logic        next_first,
    input  wire logic        next_last,
    input  wire logic [13:0] next_payload,

    // the header's words for the segment
    output      logic [63:0] word,
    output      logic        word_valid,
    input  wire logic        word_ready
);

    localparam logic [15:0] EthIpv4 = 16'h0800;
    localparam logic [15:0] EthIpv6 = 16'h86dd;
    localparam logic [15:0] EthVlan = 16'h8100;
    localparam logic [15:0] EthQinQ = 16'h88a8;
    localparam int IndexW = 5;  // of a word
    localparam int UnitW = 8;   // position of 16 bits

    function automatic logic [15:0] unit_of(input logic [63:0] data, input int lane);
        unit_of = {data[16*lane+:8], data[16*lane+8+:8]};
    endfunction

    function automatic logic is_tag(input logic [15:0] ethertype);
        is_tag = ethertype == EthVlan || ethertype == EthQinQ;
    endfunction

    function automatic logic [15:0] fold(input logic [18:0] sum);
        logic [16:0] once;
        once = {1'b0, sum[15:0]} + 17'(sum[18:16]);
        fold = once[15:0] + 16'(once[16]);
    endfunction

    // ---- store, and what is needed at once: where IP begins, how long TCP's header is

    logic [63:0]       ram_q [1 << IndexW];
    logic [63:0]       read_data;
    logic [IndexW-1:0] index_q;      // of the word that is looked at
    logic [3:0]        l3_q;
    logic              is4_q, is6_q, known_q;
    logic [3:0]        doff, doff_q;
    logic [8:0]        length_q;
    logic [UnitW-1:0]  flags_at;
    logic [15:0]       type0, type1, type2, ethertype;
    logic              typed;

    always_ff @(posedge clk) if (store) ram_q[stored[IndexW-1:0]] <= store_data;
    assign read_data = ram_q[index_q];

    assign type0    = unit_of(store_data, 2);
    assign type1    = unit_of(store_data, 0);
    assign type2    = unit_of(store_data, 2);
    assign flags_at = {1'b0, frame.csum_start} + UnitW'(6);

    assign doff     = store_data[16*flags_at[1:0]+4+:4];

    always_comb begin
        typed     = 1'b0;
        ethertype = type0;
        if (stored == 6'd1) typed = !is_tag(type0);
        if (stored == 6'd2 && l3_q == 4'd0) begin
            typed     = 1'b1;
            ethertype = is_tag(type1) ? type2 : type1;
        end
    end

    always_ff @(posedge clk) begin
        if (begins || rst) begin
            l3_q    <= '0;
            is4_q   <= 1'b0;
            is6_q   <= 1'b0;
            known_q <= 1'b0;
        end else if (store) begin
            if (typed) begin
                is4_q <= ethertype == EthIpv4;
                is6_q <= ethertype == EthIpv6;
                l3_q  <= stored == 6'd1 ? 4'd7 : is_tag(type1) ? 4'd11 : 4'd9;
            end
            if (stored == flags_at[UnitW-1:2]) begin
                known_q  <= 1'b1;
                doff_q   <= doff;
                length_q <= {1'b0, frame.csum_start, 1'b0} + {3'd0, doff, 2'd0};
            end
        end
    end

    assign known  = known_q;
    assign length = length_q;

    // ---- the fields, by position

    logic [UnitW-1:0] at_length, at_id, at_check, at_seq, at_seq_low, at_flags, at_pseudo;
    logic             scanning_q;
    logic [3:0]       on_length, on_id, on_check, on_seq, on_seq_low, on_flags, on_pseudo, on_ip;

    // They stand still from the header's third word on, before the first of them is looked for.
    always_ff @(posedge clk) begin
        if (scanning_q) begin
            at_length  <= UnitW'(l3_q) + (is4_q ? UnitW'(1) : UnitW'(2));
            at_id      <= UnitW'(l3_q) + UnitW'(2);
            at_check   <= UnitW'(l3_q) + UnitW'(5);
            at_seq     <= {1'b0, frame.csum_start} + UnitW'(2);
            at_seq_low <= {1'b0, frame.csum_start} + UnitW'(3);
            at_flags   <= flags_at;
            at_pseudo  <= {1'b0, frame.csum_start} + UnitW'(frame.csum_offset);
        end
    end

    always_comb begin
        for (int i = 0; i < 4; i++) begin
            on_length[i]  = {1'b0, index_q, 2'(i)} == at_length;
            on_id[i]      = is4_q && {1'b0, index_q, 2'(i)} == at_id;
            on_check[i]   = is4_q && {1'b0, index_q, 2'(i)} == at_check;
            on_seq[i]     = {1'b0, index_q, 2'(i)} == at_seq;
            on_seq_low[i] = {1'b0, index_q, 2'(i)} == at_seq_low;
            on_flags[i]   = {1'b0, index_q, 2'(i)} == at_flags;
            on_pseudo[i]  = {1'b0, index_q, 2'(i)} == at_pseudo;
            on_ip[i]      = {1'b0, index_q, 2'(i)} >= UnitW'(l3_q)
                && {1'b0, index_q, 2'(i)} < {1'b0, frame.csum_start};
        end
    end

    // ---- scan

    logic              scan, scan_last, summed_q;
    logic [19:0]       scan_sum, scan_sum_q;
    logic [23:0]       ip_sum_q;
    logic [15:0]       id_q, seq_high_q, seq_low_q, flags_q, pseudo_q;

    assign scan      = scanning_q && (all_stored || 6'(index_q) + 6'd3 <= stored);
    assign scan_last = all_stored && 6'(index_q) + 6'd1 >= stored;

    always_comb begin
        scan_sum = '0;
        for (int i = 0; i < 4; i++)
            if (on_ip[i] && !on_length[i] && !on_id[i] && !on_check[i])
                scan_sum = scan_sum + 20'(unit_of(read_data, i));
    end

    // ---- what changes

    logic [31:0] seq_q;
    logic [13:0] payload_q;
    logic        first_q, last_q;
    logic [15:0] length_base_q, length_now_q, check_q, pseudo_now_q;
    logic [18:0] check_base_q, check_sum_q, pseudo_base_q, pseudo_sum_q;
    logic [15:0] flags;
    logic [8:0]  fixed;         // bytes of the header that IP's length does not count
    logic        derive_q, derived_q;

    assign fixed = {4'd0, l3_q, 1'b0} + (is4_q ? 9'd0 : 9'd40);

    always_comb begin
        flags = flags_q;
        if (!first_q) flags[7] = 1'b0;  // CWR
        if (!last_q) begin
            flags[3] = 1'b0;            // PSH
            flags[0] = 1'b0;            // FIN
        end
    end

    always_ff @(posedge clk) begin
        if (begins || rst) begin
            scanning_q <= begins;
            summed_q   <= 1'b0;
            ip_sum_q   <= '0;
            derive_q   <= 1'b0;
            derived_q  <= 1'b0;
        end else begin
            if (scan) begin
                scanning_q <= !scan_last;
                scan_sum_q <= scan_sum;
                for (int i = 0; i < 4; i++) begin
                    if (on_id[i]) id_q <= unit_of(read_data, i);
                    if (on_seq[i]) seq_high_q <= unit_of(read_data, i);
                    if (on_seq_low[i]) seq_low_q <= unit_of(read_data, i);
                    if (on_flags[i]) flags_q <= unit_of(read_data, i);
                    if (on_pseudo[i]) pseudo_q <= unit_of(read_data, i);
                end
            end
            summed_q <= scan;
            if (summed_q) ip_sum_q <= ip_sum_q + 24'(scan_sum_q);
            derive_q <= summed_q && !scanning_q;  // all of it is summed then
            if (derive_q) begin                   // constants of the frame
                length_base_q <= 16'(length) - 16'(fixed);
                check_base_q  <= {3'd0, ip_sum_q[15:0]} + 19'(ip_sum_q[23:16])
                    + 19'(16'(length) - 16'(fixed));
                pseudo_base_q <= {3'd0, pseudo_q} + {13'd0, doff_q, 2'd0};
                derived_q     <= 1'b1;
            end
            if (next) begin
                payload_q <= next_payload;
                first_q   <= next_first;
                last_q    <= next_last;
                seq_q     <= next_first ? {seq_high_q, seq_low_q} : seq_q + 32'(frame.mss);
                if (!next_first) id_q <= id_q + 1'b1;
            end
            // A clock after `next` the sums, two after it their folds: the fields come later.
            length_now_q <= length_base_q + 16'(payload_q);
            check_sum_q  <= check_base_q + 19'(id_q) + 19'(payload_q);
            check_q      <= ~fold(check_sum_q);
            pseudo_sum_q <= pseudo_base_q + 19'(payload_q);
            pseudo_now_q <= fold(pseudo_sum_q);
        end
    end

    assign scanned = derived_q;
    assign good    = (is4_q || is6_q) && doff_q >= 4'd5 && UnitW'(l3_q) < {1'b0, frame.csum_start};

    // ---- play: one word ahead of its taker, so that the next segment's first word, in which
    // nothing changes, is there when the segment begins

    logic [IndexW-1:0] last_index;
    logic              load;
    logic [63:0]       patched;
    logic [15:0]       unit;

    assign last_index = IndexW'((length - 9'd1) >> 3);
    assign load       = derived_q && (!word_valid || word_ready);

    // One field at a time is in a place.
    always_comb begin
        for (int i = 0; i < 4; i++) begin
            unit = on_length[i] || on_id[i] || on_check[i] || on_seq[i] || on_seq_low[i]
                || on_flags[i] || on_pseudo[i] ? 16'd0 : unit_of(read_data, i);
            unit = unit | ({16{on_length[i]}} & length_now_q) | ({16{on_id[i]}} & id_q)
                | ({16{on_check[i]}} & check_q) | ({16{on_seq[i]}} & seq_q[31:16])
                | ({16{on_seq_low[i]}} & seq_q[15:0]) | ({16{on_flags[i]}} & flags)
                | ({16{on_pseudo[i]}} & pseudo_now_q);
            patched[16*i+:16] = {unit[7:0], unit[15:8]};
        end
    end

    always_ff @(posedge clk) begin
        if (begins || rst) begin
            word_valid <= 1'b0;
            index_q    <= IndexW'(1);
        end else if (scan) begin
            index_q <= scan_last ? '0 : index_q + 1'b1;
        end else if (load) begin
            word_valid <= 1'b1;
            word       <= patched;
            index_q    <= index_q == last_index ? '0 : index_q + 1'b1;
        end
    end

endmodule

`default_nettype wire
