// Registers of receive: address filters, RSS, offloads, pause frames.  A build without offloads
// answers at the addresses of its own, reads them as 0 and keeps nothing.

`default_nettype none

module rx_regs
    import nic_regs_pkg::*;
#(
    parameter bit RxOffload = 1'b1
) (
    input  wire logic             clk,
    input  wire logic             rst,

    // register bus
    input  wire logic             write_ahead,
    input  wire logic             write,
    input  wire logic [15:0]      write_addr,
    input  wire logic [31:0]      write_data,
    input  wire logic [31:0]      write_mask,
    output      logic             write_known,
    input  wire logic             read_ahead,
    input  wire logic [15:0]      read_addr,
    output      logic [31:0]      read_data,      // 0 if it is none of these
    output      logic             read_known,

    output      logic [7:0][47:0] cfg_filter,
    output      logic [7:0]       cfg_filter_valid,
    output      logic [63:0]      cfg_multicast_hash,
    output      logic [2:0]       cfg_rss_ipv4,
    output      logic [2:0]       cfg_rss_ipv6,
    output      logic [319:0]     cfg_rss_key,
    input  wire logic [6:0]       table_index,
    output      logic [3:0]       table_queue,
    output      logic             cfg_vlan_strip,
    output      logic             cfg_header_split,
    output      logic             cfg_pause_rx,
    output      logic             cfg_pause_tx,
    output      logic [15:0]      cfg_pause_quanta,
    output      logic [15:0]      cfg_pause_xoff,
    output      logic [15:0]      cfg_pause_xon
);

    function automatic logic in_array(input logic [15:0] addr, input logic [15:0] base,
                                      input int count);
        in_array = addr >= base && addr < base + 16'(4 * count);
    endfunction

    function automatic logic is_single(input logic [15:0] addr);
        is_single = addr == RSS_CTRL || addr == RX_OFFLOAD || addr == MULTICAST_HASH_LO
            || addr == MULTICAST_HASH_HI || addr == PAUSE || addr == PAUSE_THRESHOLD;
    endfunction

    function automatic logic known(input logic [15:0] addr);
        known = is_single(addr) || in_array(addr, RSS_KEY, RSS_KEY_COUNT)
            || in_array(addr, RSS_TABLE, RSS_TABLE_COUNT)
            || in_array(addr, MAC_FILTER_LO, MAC_FILTER_LO_COUNT)
            || in_array(addr, MAC_FILTER_HI, MAC_FILTER_HI_COUNT);
    endfunction

    always_ff @(posedge clk) begin
        if (write_ahead) write_known <= known(write_addr);
        if (read_ahead) read_known <= known(read_addr);
    end

    if (RxOffload) begin : g_offload
        rss_ctrl_reg_t          rss_ctrl_q;
        rx_offload_reg_t        rx_offload_q;
        logic [63:0]            multicast_hash_q;
        pause_reg_t             pause_q;
        pause_threshold_reg_t   threshold_q;
        logic [319:0]           key_q;        // arrays lie flat: Yosys finds none in a generate
        logic [255:0]           filter_lo_q;
        mac_filter_hi_reg_t     filter_hi_written;
        logic [127:0]           filter_hi_q;
        logic [7:0]             filter_valid_q;
        logic [2:0]             write_filter, read_filter;
        logic [3:0]             write_key, read_key;

        assign write_filter = write_addr[4:2];
        assign read_filter  = read_addr[4:2];
        assign write_key    = write_addr[5:2];
        assign read_key     = read_addr[5:2];

        always_comb begin
            filter_hi_written       = '0;
            filter_hi_written.value = filter_hi_q[16*write_filter+:16];
            filter_hi_written.valid = filter_valid_q[write_filter];
            filter_hi_written       = reg_merge(filter_hi_written, write_data,
                                                write_mask & MAC_FILTER_HI_WMASK);
        end

        logic at_rss_ctrl_q, at_offload_q, at_hash_lo_q, at_hash_hi_q, at_pause_q, at_threshold_q;
        logic in_key_q, in_table_q, in_filter_lo_q, in_filter_hi_q;

        always_ff @(posedge clk) begin
            if (write_ahead) begin
                at_rss_ctrl_q  <= write_addr == RSS_CTRL;
                at_offload_q   <= write_addr == RX_OFFLOAD;
                at_hash_lo_q   <= write_addr == MULTICAST_HASH_LO;
                at_hash_hi_q   <= write_addr == MULTICAST_HASH_HI;
                at_pause_q     <= write_addr == PAUSE;
                at_threshold_q <= write_addr == PAUSE_THRESHOLD;
                in_key_q       <= in_array(write_addr, RSS_KEY, RSS_KEY_COUNT);
                in_table_q     <= in_array(write_addr, RSS_TABLE, RSS_TABLE_COUNT);
                in_filter_lo_q <= in_array(write_addr, MAC_FILTER_LO, MAC_FILTER_LO_COUNT);
                in_filter_hi_q <= in_array(write_addr, MAC_FILTER_HI, MAC_FILTER_HI_COUNT);
            end
            if (write) begin
                if (at_rss_ctrl_q)
                    rss_ctrl_q <= reg_merge(rss_ctrl_q, write_data, write_mask & RSS_CTRL_WMASK);
                if (at_offload_q)
                    rx_offload_q <= reg_merge(rx_offload_q, write_data,
                                              write_mask & RX_OFFLOAD_WMASK);
                if (at_hash_lo_q)
                    multicast_hash_q[31:0] <= reg_merge(multicast_hash_q[31:0], write_data,
                                                        write_mask);
                if (at_hash_hi_q)
                    multicast_hash_q[63:32] <= reg_merge(multicast_hash_q[63:32], write_data,
                                                         write_mask);
                if (at_pause_q) pause_q <= reg_merge(pause_q, write_data, write_mask & PAUSE_WMASK);
                if (at_threshold_q) threshold_q <= reg_merge(threshold_q, write_data, write_mask);
                if (in_key_q)
                    key_q[32*write_key+:32] <= reg_merge(key_q[32*write_key+:32], write_data,
                                                         write_mask);
                if (in_filter_lo_q)
                    filter_lo_q[32*write_filter+:32]
                        <= reg_merge(filter_lo_q[32*write_filter+:32], write_data, write_mask);
                if (in_filter_hi_q) begin
                    filter_hi_q[16*write_filter+:16] <= filter_hi_written.value;
                    filter_valid_q[write_filter]     <= filter_hi_written.valid;
                end
            end
            if (rst) begin
                rss_ctrl_q       <= RSS_CTRL_RESET;
                rx_offload_q     <= RX_OFFLOAD_RESET;
                multicast_hash_q <= '0;
                pause_q          <= PAUSE_RESET;
                threshold_q      <= PAUSE_THRESHOLD_RESET;
                key_q            <= '0;
                filter_lo_q      <= '0;
                filter_hi_q      <= '0;
                filter_valid_q   <= '0;
            end
        end

        // ---- indirection table: a RAM for each entry of a word; a reset does not clear it

        logic [15:0] looked_up;
        logic [31:0] shown;

        for (genvar i = 0; i < 4; i++) begin : g_entry
            logic [3:0] entries[RSS_TABLE_COUNT];

            always_ff @(posedge clk) begin
                if (write && in_table_q && write_mask[8*i])
                    entries[write_addr[6:2]] <= write_data[8*i+:4];
            end

`ifndef SYNTHESIS
            initial for (int e = 0; e < RSS_TABLE_COUNT; e++) entries[e] = 4'd0;
`endif
            assign looked_up[4*i+:4] = entries[table_index[6:2]];
            assign shown[8*i+:8]     = {4'd0, entries[read_addr[6:2]]};
        end

        // ---- read

        logic [31:0] single, word;
        logic        read_single_q, read_key_q, read_table_q, read_filter_lo_q, read_filter_hi_q;

        always_comb begin
            case (read_addr[7:0])
                RSS_CTRL[7:0]:          single = rss_ctrl_q;
                RX_OFFLOAD[7:0]:        single = rx_offload_q;
                MULTICAST_HASH_LO[7:0]: single = multicast_hash_q[31:0];
                MULTICAST_HASH_HI[7:0]: single = multicast_hash_q[63:32];
                PAUSE[7:0]:             single = pause_q;
                default:                single = threshold_q;
            endcase
            word = (read_single_q ? single : '0)
                | (read_key_q ? key_q[32*read_key+:32] : '0)
                | (read_table_q ? shown : '0)
                | (read_filter_lo_q ? filter_lo_q[32*read_filter+:32] : '0)
                | (read_filter_hi_q ? {filter_valid_q[read_filter], 15'd0,
                                       filter_hi_q[16*read_filter+:16]} : '0);
        end

        always_ff @(posedge clk) begin
            read_single_q    <= is_single(read_addr);
            read_key_q       <= in_array(read_addr, RSS_KEY, RSS_KEY_COUNT);
            read_table_q     <= in_array(read_addr, RSS_TABLE, RSS_TABLE_COUNT);
            read_filter_lo_q <= in_array(read_addr, MAC_FILTER_LO, MAC_FILTER_LO_COUNT);
            read_filter_hi_q <= in_array(read_addr, MAC_FILTER_HI, MAC_FILTER_HI_COUNT);
            if (read_ahead) read_data <= word;
        end

        // ---- to the device

        for (genvar i = 0; i < 8; i++) begin : g_filter
            assign cfg_filter[i] = {filter_hi_q[16*i+:16], filter_lo_q[32*i+:32]};
        end
        assign cfg_filter_valid   = filter_valid_q;
        assign cfg_multicast_hash = multicast_hash_q;
        assign cfg_rss_ipv4       = {rss_ctrl_q.ipv4_udp, rss_ctrl_q.ipv4_tcp, rss_ctrl_q.ipv4};
        assign cfg_rss_ipv6       = {rss_ctrl_q.ipv6_udp, rss_ctrl_q.ipv6_tcp, rss_ctrl_q.ipv6};
        assign cfg_rss_key        = key_q;
        assign table_queue        = looked_up[4*table_index[1:0]+:4];
        assign cfg_vlan_strip     = rx_offload_q.vlan_strip;
        assign cfg_header_split   = rx_offload_q.header_split;
        assign cfg_pause_rx       = pause_q.rx_enable;
        assign cfg_pause_tx       = pause_q.tx_enable;
        assign cfg_pause_quanta   = pause_q.quanta;
        assign cfg_pause_xoff     = threshold_q.xoff;
        assign cfg_pause_xon      = threshold_q.xon;
    end else begin : g_none
        logic unused_inputs;

        assign unused_inputs = ^{rst, write, write_data, write_mask, table_index};
        assign read_data          = '0;
        assign cfg_filter         = '0;
        assign cfg_filter_valid   = '0;
        assign cfg_multicast_hash = '0;
        assign cfg_rss_ipv4       = '0;
        assign cfg_rss_ipv6       = '0;
        assign cfg_rss_key        = '0;
        assign table_queue        = '0;
        assign cfg_vlan_strip     = 1'b0;
        assign cfg_header_split   = 1'b0;
        assign cfg_pause_rx       = 1'b0;
        assign cfg_pause_tx       = 1'b0;
        assign cfg_pause_quanta   = '0;
        assign cfg_pause_xoff     = '0;
        assign cfg_pause_xon      = '0;
    end

endmodule

`default_nettype wire
