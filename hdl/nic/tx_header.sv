// The header of a frame that is cut into segments: holds it, finds the fields that differ from
// segment to segment, and plays it for each of them with the fields as they have to be.
//
// While the header comes in (`store`), a second look behind it (`scan`) takes the fields' first
// values out of it and sums the IPv4 header, once it is known where that begins.  Scan and play read
// a word, and which fields are in it, into registers first, and go on from there.
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
    output      logic        pause,       // nothing may come: how long it is, is being found out
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
    logic [15:0]       type0_q, type1_q, type2_q, ethertype_q;
    logic              tag0_q, tag1_q;
    logic [4:0]        typed_q;  // how far that is, up to the places of the fields
    logic [3:0]        l3_q;
    logic              is4_q, is6_q;
    logic [3:0]        doff_q;
    logic              looks, look_q;  // the word that says TCP's length comes, came
    logic [UnitW-1:0]  at_flags;

    assign looks = store && !known && stored == at_flags[UnitW-1:2];

    always_ff @(posedge clk) begin
        if (store) ram_q[stored[IndexW-1:0]] <= store_data;
        if (store && stored == 6'd1) type0_q <= unit_of(store_data, 2);
        if (store && stored == 6'd2) begin
            type1_q <= unit_of(store_data, 0);
            type2_q <= unit_of(store_data, 2);
        end
        tag0_q      <= is_tag(type0_q);
        tag1_q      <= is_tag(type1_q);
        ethertype_q <= !tag0_q ? type0_q : !tag1_q ? type1_q : type2_q;
        l3_q        <= !tag0_q ? 4'd7 : !tag1_q ? 4'd9 : 4'd11;
        is4_q       <= ethertype_q == EthIpv4;
        is6_q       <= ethertype_q == EthIpv6;
        typed_q     <= {typed_q[3:0], typed_q[0] || all_stored || (store && stored == 6'd2)};
        if (looks) doff_q <= store_data[16*at_flags[1:0]+4+:4];
        look_q      <= looks;
        pause       <= looks || look_q;
        if (look_q) begin
            known  <= 1'b1;
            length <= {1'b0, frame.csum_start, 1'b0} + {3'd0, doff_q, 2'd0};
        end
        if (begins || rst) begin
            typed_q <= '0;
            look_q  <= 1'b0;
            pause   <= 1'b0;
            known   <= 1'b0;
        end
    end

    // ---- the fields, by position; they stand still when the first of them is looked for

    logic [UnitW-1:0] at_length, at_id, at_check, at_seq, at_seq_low, at_pseudo;

    always_ff @(posedge clk) begin
        at_length  <= UnitW'(l3_q) + (is4_q ? UnitW'(1) : UnitW'(2));
        at_id      <= UnitW'(l3_q) + UnitW'(2);
        at_check   <= UnitW'(l3_q) + UnitW'(5);
        at_seq     <= {1'b0, frame.csum_start} + UnitW'(2);
        at_seq_low <= {1'b0, frame.csum_start} + UnitW'(3);
        at_flags   <= {1'b0, frame.csum_start} + UnitW'(6);
        at_pseudo  <= {1'b0, frame.csum_start} + UnitW'(frame.csum_offset);
    end

    // ---- a word, and which fields are in it

    logic              read;
    logic [IndexW-1:0] index_q;  // of the word that is read next
    logic [63:0]       read_q;
    logic [3:0]        on_length, on_id, on_check, on_seq, on_seq_low, on_flags, on_pseudo;
    logic [3:0]        on_length_q, on_id_q, on_check_q, on_seq_q, on_seq_low_q, on_flags_q;
    logic [3:0]        on_pseudo_q;
    logic [3:0]        on_ip, on_ip_q;  // what stays of IP's header
    logic [3:0]        stays_q;         // none of the fields

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
                && {1'b0, index_q, 2'(i)} < {1'b0, frame.csum_start}
                && !on_length[i] && !on_id[i] && !on_check[i];
        end
    end

    always_ff @(posedge clk) begin
        if (read) begin
            read_q       <= ram_q[index_q];
            on_length_q  <= on_length;
            on_id_q      <= on_id;
            on_check_q   <= on_check;
            on_seq_q     <= on_seq;
            on_seq_low_q <= on_seq_low;
            on_flags_q   <= on_flags;
            on_pseudo_q  <= on_pseudo;
            on_ip_q      <= on_ip;
            stays_q      <= ~(on_length | on_id | on_check | on_seq | on_seq_low | on_flags
                | on_pseudo);
        end
    end

    // ---- scan: read, take and add in pairs, add, accumulate, and derive what is constant

    logic              scan, scan_last, scanning_q;
    logic              scannable_q;  // all is stored, or more than it takes in two clocks
    logic [IndexW-1:0] last_stored_q;
    logic [5:0]        early_q;      // words that may be read though there are more to come
    logic [2:0]        scan_q;       // a word is behind its reading, its pairs, its sum
    logic [2:0]        derive_q;     // all of them are, since one clock, two ...
    logic [16:0]       low_q, high_q;
    logic [17:0]       sum_q;
    logic [23:0]       ip_sum_q;
    logic [16:0]       ip_once_q;
    logic [15:0]       id_q, seq_high_q, seq_low_q, flags_q, pseudo_q;

    assign scan      = scanning_q && scannable_q;
    assign scan_last = all_stored && index_q == last_stored_q;
    assign scanned   = derive_q[2];
    assign good      = (is4_q || is6_q) && doff_q >= 4'd5
        && UnitW'(l3_q) < {1'b0, frame.csum_start};

    function automatic logic [15:0] part(input logic [63:0] data, input logic ip, input int lane);
        part = unit_of(data, lane) & {16{ip}};
    endfunction

    // ---- what changes

    logic [31:0] seq_q;
    logic [15:0] id_now_q;
    logic [13:0] payload_q;
    logic        first_q, last_q;
    logic [15:0] length_base_q, length_now_q, check_q, pseudo_now_q;
    logic [18:0] check_base_q, check_next_q, check_part_q, check_sum_q, pseudo_base_q, pseudo_sum_q;
    logic [15:0] flags;
    logic [8:0]  fixed;         // bytes of the header that IP's length does not count

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
        scannable_q <= typed_q[4] && (all_stored || 6'(index_q) < early_q) && !begins;
        last_stored_q <= IndexW'(stored - 6'd1);
        early_q     <= stored < 6'd3 ? '0 : stored - 6'd3;
        scan_q   <= {scan_q[1:0], scan};
        derive_q <= {derive_q[1:0], derive_q[0] || (!scanning_q && scan_q == '0)};
        if (scan && scan_last) scanning_q <= 1'b0;
        if (scan_q[0]) begin
            low_q  <= 17'(part(read_q, on_ip_q[0], 0)) + 17'(part(read_q, on_ip_q[1], 1));
            high_q <= 17'(part(read_q, on_ip_q[2], 2)) + 17'(part(read_q, on_ip_q[3], 3));
            for (int i = 0; i < 4; i++) begin
                if (on_seq_q[i]) seq_high_q <= unit_of(read_q, i);
                if (on_seq_low_q[i]) seq_low_q <= unit_of(read_q, i);
                if (on_flags_q[i]) flags_q <= unit_of(read_q, i);
                if (on_pseudo_q[i]) pseudo_q <= unit_of(read_q, i);
            end
        end
        sum_q <= 18'(low_q) + 18'(high_q);
        if (scan_q[2]) ip_sum_q <= ip_sum_q + 24'(sum_q);
        ip_once_q     <= {1'b0, ip_sum_q[15:0]} + 17'(ip_sum_q[23:16]);
        length_base_q <= 16'(length) - 16'(fixed);
        check_base_q  <= 19'(ip_once_q) + 19'(length_base_q);
        check_next_q  <= check_base_q + 19'(id_q);
        pseudo_base_q <= {3'd0, pseudo_q} + {13'd0, doff_q, 2'd0};
        if (begins || rst) begin
            scanning_q <= begins;
            scan_q     <= '0;
            derive_q   <= '0;
            ip_sum_q   <= '0;
        end

        // `id_q` is the next segment's.
        for (int i = 0; i < 4; i++)
            if (scan_q[0] && on_id_q[i]) id_q <= unit_of(read_q, i);
        if (next) begin
            payload_q    <= next_payload;
            first_q      <= next_first;
            last_q       <= next_last;
            seq_q        <= next_first ? {seq_high_q, seq_low_q} : seq_q + 32'(frame.mss);
            id_now_q     <= id_q;
            id_q         <= id_q + 1'b1;
            check_part_q <= check_next_q;
        end
        // A clock after `next` the sums, two after it their folds: the fields come later.
        length_now_q <= length_base_q + 16'(payload_q);
        check_sum_q  <= check_part_q + 19'(payload_q);
        check_q      <= ~fold(check_sum_q);
        pseudo_sum_q <= pseudo_base_q + 19'(payload_q);
        pseudo_now_q <= fold(pseudo_sum_q);
    end

    // ---- play: one word ahead of its taker, so that the next segment's first word, in which
    // nothing changes, is there when the segment begins, and the one behind it is read

    logic              read_valid_q, load;
    logic [IndexW-1:0] last_index_q;
    logic [63:0]       patched;
    logic [15:0]       unit;

    assign load = read_valid_q && (!word_valid || word_ready);
    assign read = scan || (scanned && (!read_valid_q || load));

    // One field at a time is in a place.
    always_comb begin
        for (int i = 0; i < 4; i++) begin
            unit = ({16{stays_q[i]}} & unit_of(read_q, i))
                | ({16{on_length_q[i]}} & length_now_q) | ({16{on_id_q[i]}} & id_now_q)
                | ({16{on_check_q[i]}} & check_q) | ({16{on_seq_q[i]}} & seq_q[31:16])
                | ({16{on_seq_low_q[i]}} & seq_q[15:0]) | ({16{on_flags_q[i]}} & flags)
                | ({16{on_pseudo_q[i]}} & pseudo_now_q);
            patched[16*i+:16] = {unit[7:0], unit[15:8]};
        end
    end

    always_ff @(posedge clk) begin
        if (load) word <= patched;
        if (word_ready) word_valid <= 1'b0;
        if (load) begin
            word_valid   <= 1'b1;
            read_valid_q <= 1'b0;
        end
        if (read && !scan) read_valid_q <= 1'b1;
        if (scan) index_q <= scan_last ? '0 : index_q + 1'b1;
        else if (read) index_q <= index_q == last_index_q ? '0 : index_q + 1'b1;
        last_index_q <= IndexW'((length - 9'd1) >> 3);
        if (begins || rst) begin
            word_valid   <= 1'b0;
            read_valid_q <= 1'b0;
            index_q      <= IndexW'(1);
        end
    end

endmodule

`default_nettype wire
