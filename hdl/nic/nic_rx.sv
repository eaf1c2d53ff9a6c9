// The receive path, its blocks in packet order.  It holds instances and wires only.
//
//   wire -> mac_rx -> vlan_strip -> rx_filter -> rx_buffer -> rx_engine -> write client 0 (data)
//               '-> rx_inspect (headers, verdicts) -------------^  |
//               '-> pause_rx                      ring_side <------'
//   read client (descriptors) -> ring_side -> write client 1 (completions)
//
// RxOffload=0 leaves out everything that looks into frames: VLAN strip, pause frames, headers.

`default_nettype none

module nic_rx
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int BufferBytes = 32768,
    parameter bit RxOffload = 1'b1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1,
    parameter int LaneW = $clog2(DataW / 8),
    parameter int WriteTagW = QueueW + 3  // see cpl_writer
) (
    input  wire logic                           clk,
    input  wire logic                           rst,

    // XGMII
    input  wire logic [63:0]                    xgmii_rxd,
    input  wire logic [7:0]                     xgmii_rxc,
    output      logic                           link_up,

    // registers of the device
    input  wire logic                           cfg_enable,
    input  wire logic [15:0]                    cfg_max_frame,
    input  wire logic [47:0]                    cfg_mac,
    input  wire logic                           cfg_promiscuous,
    input  wire logic                           cfg_all_multicast,
    input  wire logic [7:0]                     cfg_default_queue,
    input  wire logic [7:0][47:0]               cfg_filter,
    input  wire logic [7:0]                     cfg_filter_valid,
    input  wire logic [63:0]                    cfg_multicast_hash,
    input  wire logic [2:0]                     cfg_rss_ipv4,
    input  wire logic [2:0]                     cfg_rss_ipv6,
    input  wire logic [319:0]                   cfg_rss_key,
    output      logic [6:0]                     table_index,
    input  wire logic [3:0]                     table_queue,
    input  wire logic                           cfg_vlan_strip,
    input  wire logic                           cfg_header_split,
    input  wire logic                           cfg_pause,
    input  wire logic [30:0]                    now,              // ns

    // flow control
    output      logic                           paused,
    output      logic [15:0]                    fill,             // of the buffer, 64 bytes a unit

    // registers of the rings
    input  wire logic [Queues-1:0]              enable,
    input  wire logic [Queues-1:0]              run_on,
    input  wire logic [Queues-1:0][3:0]         log2_entries,
    input  wire logic [Queues-1:0]              doorbell,
    input  wire logic [Queues-1:0][15:0]        doorbell_producer,
    input  wire logic [Queues-1:0][63:0]        desc_base,
    input  wire logic [Queues-1:0][63:0]        cpl_base,
    output      logic [Queues-1:0]              doorbell_refused,
    output      logic [Queues-1:0]              active,
    output      logic [Queues-1:0][3:0]         error,
    output      logic [Queues-1:0][15:0]        producer,
    output      logic [Queues-1:0][15:0]        fetched,
    output      logic [Queues-1:0][15:0]        completed,

    // read client: descriptors
    output      logic                           read_job_valid,
    input  wire logic                           read_job_ready,
    output      logic [AddrW-1:0]               read_job_addr,
    output      logic [15:0]                    read_job_len,
    output      logic [QueueW-1:0]              read_job_tag,
    input  wire logic [DataW-1:0]               read_tdata,
    input  wire logic [DataW/8-1:0]             read_tkeep,
    input  wire logic                           read_tvalid,
    output      logic                           read_tready,
    input  wire logic                           read_tlast,
    input  wire logic [QueueW-1:0]              read_ttag,
    input  wire logic [1:0]                     read_tresp,

    // write clients: data [0], completions [1]
    output      logic [1:0]                     write_job_valid,
    input  wire logic [1:0]                     write_job_ready,
    output      logic [1:0][AddrW-1:0]          write_job_addr,
    output      logic [1:0][15:0]               write_job_len,
    output      logic [1:0][WriteTagW-1:0]      write_job_tag,
    output      logic [LaneW-1:0]               write_job_lane,   // of the data
    output      logic [1:0][DataW-1:0]          write_tdata,
    output      logic [1:0]                     write_tvalid,
    input  wire logic [1:0]                     write_tready,
    input  wire logic [1:0]                     write_done,
    input  wire logic [WriteTagW-1:0]           write_done_tag,
    input  wire logic [1:0]                     write_done_resp,

    // interrupts
    output      logic [Queues-1:0]              start,
    output      logic [Queues-1:0]              failed,

    // one clock a frame: how it left the wire side, and the bus side
    output      logic                           ev_wire,
    output      logic [2:0]                     ev_wire_verdict,
    output      logic [15:0]                    ev_wire_len,
    output      logic [Queues-1:0]              ev_disabled,
    output      logic [Queues-1:0]              ev_no_descriptor,
    output      logic [Queues-1:0]              ev_frame,
    output      logic [Queues-1:0]              ev_length,
    output      logic [Queues-1:0]              ev_bus_error,

    output      logic                           busy
);

    localparam int WrData = 0;
    localparam int WrCpl = 1;
    localparam int Metas = BufferBytes / 64;

    // ---- wire to buffer

    logic mac_busy, pause_busy, strip_busy, filter_busy, buffer_busy;
    logic [63:0] wire_tdata, strip_tdata, filter_tdata;
    logic [7:0] wire_tkeep, strip_tkeep, filter_tkeep;
    logic wire_tvalid, wire_tlast, strip_tvalid, strip_tlast, filter_tvalid, filter_tlast;
    logic [2:0] wire_tuser, strip_tuser, filter_tuser;
    logic pause_q;  // it is a pause frame: with tlast of vlan_strip
    logic stripped;

    mac_rx u_mac (
        .clk, .rst, .xgmii_rxd, .xgmii_rxc, .cfg_max_frame,
        .m_axis_tdata(wire_tdata), .m_axis_tkeep(wire_tkeep), .m_axis_tvalid(wire_tvalid),
        .m_axis_tlast(wire_tlast), .m_axis_tuser(wire_tuser),
        .link_up, .busy(mac_busy)
    );

    if (RxOffload) begin : g_strip
        logic is_pause;

        pause_rx u_pause (
            .clk, .rst, .cfg_enable(cfg_pause),
            .s_axis_tdata(wire_tdata), .s_axis_tvalid(wire_tvalid), .s_axis_tlast(wire_tlast),
            .s_axis_tuser(wire_tuser), .is_pause, .paused, .busy(pause_busy)
        );

        always_ff @(posedge clk) begin
            if (wire_tvalid) pause_q <= is_pause;
        end

        vlan_strip u_strip (
            .clk, .rst, .cfg_enable(cfg_vlan_strip),
            .s_axis_tdata(wire_tdata), .s_axis_tkeep(wire_tkeep), .s_axis_tvalid(wire_tvalid),
            .s_axis_tlast(wire_tlast), .s_axis_tuser(wire_tuser),
            .m_axis_tdata(strip_tdata), .m_axis_tkeep(strip_tkeep), .m_axis_tvalid(strip_tvalid),
            .m_axis_tlast(strip_tlast), .m_axis_tuser(strip_tuser), .stripped, .busy(strip_busy)
        );
    end else begin : g_no_strip
        assign strip_tdata  = wire_tdata;
        assign strip_tkeep  = wire_tkeep;
        assign strip_tvalid = wire_tvalid;
        assign strip_tlast  = wire_tlast;
        assign strip_tuser  = wire_tuser;
        assign pause_q      = 1'b0;
        assign stripped     = 1'b0;
        assign paused       = 1'b0;
        assign pause_busy   = 1'b0;
        assign strip_busy   = 1'b0;
    end

    rx_filter #(.MulticastHash(RxOffload)) u_filter (
        .clk, .rst, .cfg_mac, .cfg_promiscuous, .cfg_all_multicast, .cfg_filter, .cfg_filter_valid,
        .cfg_multicast_hash,
        .s_axis_tdata(strip_tdata), .s_axis_tkeep(strip_tkeep), .s_axis_tvalid(strip_tvalid),
        .s_axis_tlast(strip_tlast), .s_axis_tuser(strip_tuser), .s_axis_pause(pause_q),
        .m_axis_tdata(filter_tdata), .m_axis_tkeep(filter_tkeep), .m_axis_tvalid(filter_tvalid),
        .m_axis_tlast(filter_tlast), .m_axis_tuser(filter_tuser),
        .busy(filter_busy)
    );

    logic meta_valid, meta_ready, ended, stored;
    logic [15:0] meta_len;
    logic [DataW-1:0] frame_tdata;
    logic [DataW/8-1:0] unused_frame_tkeep;
    logic frame_tvalid, frame_tready, frame_tlast;

    rx_buffer #(.Bytes(BufferBytes), .DataW(DataW)) u_buffer (
        .clk, .rst, .enable(cfg_enable),
        .s_axis_tdata(filter_tdata), .s_axis_tkeep(filter_tkeep), .s_axis_tvalid(filter_tvalid),
        .s_axis_tlast(filter_tlast), .s_axis_tuser(filter_tuser),
        .m_meta_valid(meta_valid), .m_meta_ready(meta_ready), .m_meta_len(meta_len),
        .m_axis_tdata(frame_tdata), .m_axis_tkeep(unused_frame_tkeep),
        .m_axis_tvalid(frame_tvalid), .m_axis_tready(frame_tready), .m_axis_tlast(frame_tlast),
        .ended, .stored, .fill,
        .ev_valid(ev_wire), .ev_verdict(ev_wire_verdict), .ev_len(ev_wire_len), .busy(buffer_busy)
    );

    // ---- beside the store: what is in the frame

    logic info_valid, verdict_valid, info_end, verdict_end, parser_busy;
    logic [QueueW-1:0] info_queue;
    logic [7:0] info_header_len;
    logic [2:0] verdict;
    rx_cpl_t info_entry;

    if (RxOffload) begin : g_parser
        rx_inspect #(.Queues(Queues), .Depth(Metas)) u_inspect (
            .clk, .rst, .now, .cfg_default_queue, .cfg_rss_ipv4, .cfg_rss_ipv6,
            .cfg_rss_key, .table_index, .table_queue,
            .s_axis_tdata(wire_tdata), .s_axis_tkeep(wire_tkeep), .s_axis_tvalid(wire_tvalid),
            .s_axis_tlast(wire_tlast), .s_axis_stripped(stripped), .ended, .stored,
            .info_valid, .info_queue, .info_header_len, .info_entry, .verdict_valid, .verdict,
            .info_end, .verdict_end, .busy(parser_busy)
        );
    end else begin : g_no_parser
        logic unused_config;

        rx_steer #(.Queues(Queues)) u_steer (
            .cfg_default_queue, .hashed(1'b0), .table_queue, .queue_id(info_queue)
        );

        assign unused_config = ^{now, cfg_rss_ipv4, cfg_rss_ipv6, cfg_rss_key, cfg_vlan_strip,
                                 cfg_pause, stripped, ended, stored, info_end, verdict_end};
        assign table_index     = '0;
        assign info_valid      = 1'b1;
        assign info_header_len = '0;
        assign info_entry      = '0;
        assign verdict_valid   = 1'b1;
        assign verdict         = '0;
        assign parser_busy     = 1'b0;
    end

    // ---- rings, descriptors and completions

    logic [Queues-1:0] running, posted, posted_more, ready, pop;
    logic [Queues-1:0][15:0] consumed;
    logic [QueueW-1:0] head_queue, cpl_queue;
    logic [127:0] head_desc;
    logic [1:0] head_resp;
    logic cpl_push, cpl_full, cpl_first, cpl_last, cpl_has_data, side_busy;
    logic [127:0] cpl_entry;

    logic [Queues-1:0] unused_fetch_push;
    logic unused_fetch_last;

    // Descriptors are asked for early, since their reads may wait behind 8 KiB of transmit's.
    ring_side #(.Queues(Queues), .DataW(DataW), .AddrW(AddrW), .Batch(4)) u_side (
        .clk, .rst,
        .enable, .run_on, .log2_entries, .doorbell, .doorbell_producer, .desc_base, .cpl_base,
        .doorbell_refused, .active, .error, .producer, .fetched, .completed,
        .desc_job_valid(read_job_valid), .desc_job_ready(read_job_ready),
        .desc_job_addr(read_job_addr), .desc_job_len(read_job_len), .desc_job_tag(read_job_tag),
        .s_axis_tdata(read_tdata), .s_axis_tkeep(read_tkeep), .s_axis_tvalid(read_tvalid),
        .s_axis_tready(read_tready), .s_axis_tlast(read_tlast), .s_axis_ttag(read_ttag),
        .s_axis_tresp(read_tresp),
        .cpl_job_valid(write_job_valid[WrCpl]), .cpl_job_ready(write_job_ready[WrCpl]),
        .cpl_job_addr(write_job_addr[WrCpl]), .cpl_job_len(write_job_len[WrCpl]),
        .cpl_job_tag(write_job_tag[WrCpl]),
        .m_axis_tdata(write_tdata[WrCpl]), .m_axis_tvalid(write_tvalid[WrCpl]),
        .m_axis_tready(write_tready[WrCpl]),
        .cpl_done_valid(write_done[WrCpl]), .cpl_done_tag(write_done_tag),
        .cpl_done_resp(write_done_resp),
        .running, .posted, .posted_more, .ready, .consumed, .pop, .head_queue, .head_desc,
        .head_resp, .fetch_push(unused_fetch_push), .fetch_last(unused_fetch_last),
        .desc_failed('0), .desc_decerr(1'b0),
        .cpl_push, .cpl_full, .cpl_queue, .cpl_entry, .cpl_first, .cpl_last, .cpl_has_data,
        .data_done(write_done[WrData]), .data_resp(write_done_resp),
        .start, .failed, .ev_frame, .ev_length, .ev_bus_error, .busy(side_busy)
    );

    // ---- buffer to memory

    logic engine_busy;

    assign write_job_tag[WrData][WriteTagW-1:QueueW] = '0;

    rx_engine #(.Queues(Queues), .DataW(DataW), .AddrW(AddrW)) u_engine (
        .clk, .rst, .cfg_header_split,
        .s_meta_valid(meta_valid), .s_meta_ready(meta_ready), .s_meta_len(meta_len),
        .s_axis_tdata(frame_tdata), .s_axis_tvalid(frame_tvalid), .s_axis_tready(frame_tready),
        .s_axis_tlast(frame_tlast),
        .info_valid, .info_queue, .info_header_len, .info_entry, .verdict_valid, .verdict,
        .info_end, .verdict_end,
        .running, .posted, .posted_more, .ready, .consumed, .pop, .head_queue, .head_desc,
        .head_resp,
        .job_valid(write_job_valid[WrData]), .job_ready(write_job_ready[WrData]),
        .job_addr(write_job_addr[WrData]), .job_len(write_job_len[WrData]),
        .job_tag(write_job_tag[WrData][QueueW-1:0]), .job_lane(write_job_lane),
        .m_axis_tdata(write_tdata[WrData]), .m_axis_tvalid(write_tvalid[WrData]),
        .m_axis_tready(write_tready[WrData]),
        .cpl_push, .cpl_full, .cpl_queue, .cpl_entry, .cpl_first, .cpl_last, .cpl_has_data,
        .ev_disabled, .ev_no_descriptor, .busy(engine_busy)
    );

    assign busy = mac_busy || pause_busy || strip_busy || filter_busy || buffer_busy || parser_busy
        || side_busy || engine_busy;

endmodule

`default_nettype wire
