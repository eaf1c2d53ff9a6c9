// The transmit path, its blocks in packet order.  It holds instances and wires only.
//
//   read client 0 (descriptors) -> ring_side -> tx_whole, tx_gather -> frames, fragments
//   fragments -> tx_read -> read client 1 (data) -> tx_landing -> tx_pack -> tx_segment (tx_header)
//       -> tx_vlan -> tx_buffer (tx_checksum) -> mac_tx -> wire
//   what became of them -> tx_complete -> ring_side -> write client (completions)

`default_nettype none

module nic_tx
    import nic_regs_pkg::*;
    import tx_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int BufferBytes = 32768,
    parameter int LandingBytes = 8192,
    parameter bit Checksum = 1,
    parameter bit Segment = 1,
    parameter bit RxOffload = 1'b1,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1,
    parameter int WriteTagW = QueueW + 3  // see cpl_writer
) (
    input  wire logic                           clk,
    input  wire logic                           rst,

    // XGMII
    output      logic [63:0]                    xgmii_txd,
    output      logic [7:0]                     xgmii_txc,

    // registers of the device
    input  wire logic                           cfg_enable,
    input  wire logic [15:0]                    cfg_max_frame,

    input  wire logic [30:0]                    now,  // ns

    // pause frames
    input  wire logic [47:0]                    cfg_mac,
    input  wire logic                           cfg_pause,
    input  wire logic [15:0]                    cfg_pause_quanta,
    input  wire logic [15:0]                    cfg_pause_xoff,
    input  wire logic [15:0]                    cfg_pause_xon,
    input  wire logic [15:0]                    rx_fill,
    input  wire logic                           paused,

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

    // read clients: descriptors [0], data [1]
    output      logic [1:0]                     read_job_valid,
    input  wire logic [1:0]                     read_job_ready,
    output      logic [1:0][AddrW-1:0]          read_job_addr,
    output      logic [1:0][15:0]               read_job_len,
    output      logic [1:0][QueueW-1:0]         read_job_tag,
    input  wire logic [DataW-1:0]               read_tdata,
    input  wire logic [DataW/8-1:0]             read_tkeep,
    input  wire logic [1:0]                     read_tvalid,
    output      logic [1:0]                     read_tready,
    input  wire logic                           read_tlast,
    input  wire logic [QueueW-1:0]              read_ttag,
    input  wire logic [1:0]                     read_tresp,

    // write client: completions
    output      logic                           write_job_valid,
    input  wire logic                           write_job_ready,
    output      logic [AddrW-1:0]               write_job_addr,
    output      logic [15:0]                    write_job_len,
    output      logic [WriteTagW-1:0]           write_job_tag,
    output      logic [DataW-1:0]               write_tdata,
    output      logic                           write_tvalid,
    input  wire logic                           write_tready,
    input  wire logic                           write_done,
    input  wire logic [WriteTagW-1:0]           write_done_tag,
    input  wire logic [1:0]                     write_done_resp,

    // interrupts
    output      logic [Queues-1:0]              start,
    output      logic [Queues-1:0]              failed,

    // one clock a frame: how it left the bus side, and the wire side
    output      logic [Queues-1:0]              ev_frame,
    output      logic [Queues-1:0]              ev_length,
    output      logic [Queues-1:0]              ev_bus_error,
    output      logic                           ev_wire,
    output      logic                           ev_pause,
    output      logic [15:0]                    ev_wire_len,
    output      logic                           ev_wire_underrun,

    output      logic                           wire_busy,
    output      logic                           busy
);

    localparam int RdDesc = 0;
    localparam int RdData = 1;
    localparam int Prefetch = 32;
    localparam int Batch = Prefetch - MaxFragments;

`ifndef SYNTHESIS
    initial begin
        if (Segment && !Checksum) begin
            $display("nic_tx: segmentation needs checksums");
            $fatal;
        end
    end
`endif

    // ---- rings, descriptors and completions

    logic [Queues-1:0] running, ready, whole, pop, fetch_push, desc_failed;
    logic [Queues-1:0] unused_posted, unused_more;
    logic [Queues-1:0][15:0] consumed;
    logic [QueueW-1:0] head_queue, cpl_queue;
    logic [127:0] head_desc, cpl_entry;
    logic [1:0] head_resp;
    logic desc_decerr, fetch_last, pop_last, cpl_push, cpl_full, cpl_last, side_busy;

    ring_side #(
        .Queues(Queues), .DataW(DataW), .AddrW(AddrW), .Prefetch(Prefetch), .Batch(Batch),
        .CplHasData(1'b0)
    ) u_side (
        .clk, .rst,
        .enable, .run_on, .log2_entries, .doorbell, .doorbell_producer, .desc_base, .cpl_base,
        .doorbell_refused, .active, .error, .producer, .fetched, .completed,
        .desc_job_valid(read_job_valid[RdDesc]), .desc_job_ready(read_job_ready[RdDesc]),
        .desc_job_addr(read_job_addr[RdDesc]), .desc_job_len(read_job_len[RdDesc]),
        .desc_job_tag(read_job_tag[RdDesc]),
        .s_axis_tdata(read_tdata), .s_axis_tkeep(read_tkeep), .s_axis_tvalid(read_tvalid[RdDesc]),
        .s_axis_tready(read_tready[RdDesc]), .s_axis_tlast(read_tlast), .s_axis_ttag(read_ttag),
        .s_axis_tresp(read_tresp),
        .cpl_job_valid(write_job_valid), .cpl_job_ready(write_job_ready),
        .cpl_job_addr(write_job_addr), .cpl_job_len(write_job_len), .cpl_job_tag(write_job_tag),
        .m_axis_tdata(write_tdata), .m_axis_tvalid(write_tvalid), .m_axis_tready(write_tready),
        .cpl_done_valid(write_done), .cpl_done_tag(write_done_tag),
        .cpl_done_resp(write_done_resp),
        .running, .posted(unused_posted), .posted_more(unused_more), .ready, .consumed, .pop,
        .head_queue, .head_desc, .head_resp, .fetch_push, .fetch_last, .desc_failed, .desc_decerr,
        .cpl_push, .cpl_full, .cpl_queue, .cpl_entry, .cpl_first(1'b1), .cpl_last,
        .cpl_has_data(1'b0), .data_done(1'b0), .data_resp(2'b00),
        .start, .failed, .ev_frame, .ev_length, .ev_bus_error, .busy(side_busy)
    );

    tx_whole #(.Queues(Queues), .Prefetch(Prefetch)) u_whole (
        .clk, .rst,
        .running, .log2_entries, .fetched, .consumed, .fetch_push, .fetch_last,
        .pop, .pop_last, .whole
    );

    // ---- descriptors to fragments and frames

    logic fragment_push, fragment_full, frame_push, frame_full, desc_push, desc_full, gather_busy;
    logic resume, fragment_long;
    logic [63:0] fragment_addr;
    logic [15:0] fragment_len, desc_index, desc_len;
    tx_frame_t gathered;

    tx_gather #(.Queues(Queues), .Checksum(Checksum), .Segment(Segment)) u_gather (
        .clk, .rst, .cfg_max_frame,
        .running, .ready, .whole, .consumed, .pop, .pop_last, .head_queue, .head_desc, .head_resp,
        .desc_failed, .desc_decerr,
        .fragment_push, .fragment_full, .fragment_addr, .fragment_len, .fragment_long,
        .frame_push, .frame_full, .frame(gathered), .resume,
        .desc_push, .desc_full, .desc_index, .desc_len, .busy(gather_busy)
    );

    logic fragment_valid, fragment_pop, next_long, told_full, read_busy;
    logic [63:0] next_addr;
    logic [15:0] next_len;

    small_fifo #(.Width(81), .Depth(32)) u_fragments (
        .clk, .rst,
        .push(fragment_push), .push_data({fragment_long, fragment_len, fragment_addr}),
        .full(fragment_full), .pop(fragment_pop), .head({next_long, next_len, next_addr}),
        .valid(fragment_valid)
    );

    // ---- memory to words of a frame

    logic row_freed, landing_busy, pack_busy;
    logic [63:0] word, packed_data;
    logic [3:0] word_bytes, packed_bytes;
    logic [1:0] word_resp, packed_resp;
    logic word_last, word_valid, word_ready, packed_last, packed_valid, packed_ready;

    tx_read #(
        .DataW(DataW), .AddrW(AddrW), .QueueW(QueueW), .LandingBytes(LandingBytes)
    ) u_read (
        .clk, .rst,
        .fragment_valid, .fragment_pop, .fragment_addr(next_addr), .fragment_len(next_len),
        .fragment_long(next_long),
        .frame_push, .frame_full, .frame(gathered), .told_full, .resume,
        .job_valid(read_job_valid[RdData]), .job_ready(read_job_ready[RdData]),
        .job_addr(read_job_addr[RdData]), .job_len(read_job_len[RdData]),
        .job_tag(read_job_tag[RdData]), .row_freed, .busy(read_busy)
    );

    assign read_tready[RdData] = 1'b1;

    tx_landing #(.Bytes(LandingBytes), .DataW(DataW)) u_landing (
        .clk, .rst,
        .s_axis_tdata(read_tdata), .s_axis_tkeep(read_tkeep), .s_axis_tvalid(read_tvalid[RdData]),
        .s_axis_tlast(read_tlast), .s_axis_tresp(read_tresp), .s_axis_tuser(read_ttag[0]),
        .word, .word_bytes, .word_last, .word_resp, .word_valid, .word_ready,
        .row_freed, .busy(landing_busy)
    );

    tx_pack u_pack (
        .clk, .rst,
        .s_data(word), .s_bytes(word_bytes), .s_last(word_last), .s_resp(word_resp),
        .s_valid(word_valid), .s_ready(word_ready),
        .m_data(packed_data), .m_bytes(packed_bytes), .m_last(packed_last), .m_resp(packed_resp),
        .m_valid(packed_valid), .m_ready(packed_ready), .busy(pack_busy)
    );

    // ---- what the frame asks for

    tx_frame_t told, frame;
    logic told_valid, told_pop, frame_valid, frame_refused, frame_pop;
    logic result_push, result_full, result_stamp, segment_busy, vlan_busy;
    logic [3:0] result_status;
    logic [63:0] cut_data, send_data;
    logic [3:0] cut_bytes, send_bytes;
    logic cut_last, cut_discard, cut_first, cut_valid, cut_ready;
    logic send_last, send_discard, send_stamp, send_checksum, send_valid, send_ready;
    logic [7:0] send_csum_start, send_csum_at;

    small_fifo #(.Width(FrameW), .Depth(8)) u_told (
        .clk, .rst,
        .push(frame_push), .push_data(gathered), .full(told_full),
        .pop(told_pop), .head(told), .valid(told_valid)
    );

    fifo_head #(.Width(1 + FrameW)) u_frame (
        .clk, .rst,
        .in_valid(told_valid && !result_full),
        .in_head({told.status != CPL_STATUS_OK, told}), .in_pop(told_pop),
        .valid(frame_valid), .head({frame_refused, frame}), .pop(frame_pop)
    );

    tx_segment #(.Segment(Segment)) u_segment (
        .clk, .rst, .cfg_max_frame,
        .frame_valid, .frame_refused, .frame_pop, .frame,
        .s_data(packed_data), .s_bytes(packed_bytes), .s_last(packed_last), .s_resp(packed_resp),
        .s_valid(packed_valid), .s_ready(packed_ready),
        .m_data(cut_data), .m_bytes(cut_bytes), .m_last(cut_last), .m_discard(cut_discard),
        .m_first(cut_first), .m_valid(cut_valid), .m_ready(cut_ready),
        .result_push, .result_status, .result_stamp, .busy(segment_busy)
    );

    tx_vlan u_vlan (
        .clk, .rst, .frame,
        .s_data(cut_data), .s_bytes(cut_bytes), .s_last(cut_last), .s_discard(cut_discard),
        .s_stamp(frame.timestamp && cut_first), .s_valid(cut_valid), .s_ready(cut_ready),
        .m_data(send_data), .m_bytes(send_bytes), .m_last(send_last), .m_discard(send_discard),
        .m_stamp(send_stamp), .m_checksum(send_checksum), .m_csum_start(send_csum_start),
        .m_csum_at(send_csum_at), .m_valid(send_valid), .m_ready(send_ready), .busy(vlan_busy)
    );

    // ---- buffer to wire

    logic csum_wanted, csum_soon, csum_done, buffer_busy, ev_stamp;
    logic [15:0] csum;
    logic [63:0] frame_tdata, mac_tdata;
    logic [7:0] frame_tkeep, mac_tkeep;
    logic frame_tvalid, frame_tready, frame_tlast, frame_tuser;
    logic mac_tvalid, mac_tready, mac_tlast, mac_tuser, mac_frame, pause_busy;

    // With the transmitter off, a ring that is stopped need not wait for room.
    logic flush_q, stamp_told, stamp_lost;

    always_ff @(posedge clk) flush_q <= !cfg_enable && |(active & ~enable);

    tx_buffer #(.Bytes(BufferBytes), .Checksum(Checksum)) u_buffer (
        .clk, .rst, .flush(flush_q),
        .s_data(send_data), .s_bytes(send_bytes), .s_last(send_last), .s_discard(send_discard),
        .s_stamp(send_stamp), .s_checksum(send_checksum), .s_csum_at(send_csum_at),
        .s_valid(send_valid), .s_ready(send_ready),
        .csum_wanted, .csum_soon, .csum_done, .csum, .stamp_told, .stamp_lost,
        .m_axis_tdata(frame_tdata), .m_axis_tkeep(frame_tkeep), .m_axis_tvalid(frame_tvalid),
        .m_axis_tready(frame_tready), .m_axis_tlast(frame_tlast), .m_axis_tuser(frame_tuser),
        .busy(buffer_busy)
    );

    if (Checksum) begin : g_checksum
        tx_checksum u_checksum (
            .clk, .rst,
            .valid(send_valid && send_ready), .data(send_data), .bytes(send_bytes),
            .last(send_last),
            .wanted(csum_wanted), .start(send_csum_start), .soon(csum_soon), .done(csum_done),
            .checksum(csum)
        );
    end else begin : g_no_checksum
        logic unused;

        assign csum_soon = 1'b0;
        assign csum_done = 1'b0;
        assign csum      = '0;
        assign unused    = &{csum_wanted, send_csum_start};
    end

    if (RxOffload) begin : g_pause
        pause_tx u_pause (
            .clk, .rst,
            .cfg_enable(cfg_pause), .cfg_quanta(cfg_pause_quanta), .cfg_xoff(cfg_pause_xoff),
            .cfg_xon(cfg_pause_xon), .cfg_mac, .fill(rx_fill), .paused,
            .s_axis_tdata(frame_tdata), .s_axis_tkeep(frame_tkeep), .s_axis_tvalid(frame_tvalid),
            .s_axis_tready(frame_tready), .s_axis_tlast(frame_tlast), .s_axis_tuser(frame_tuser),
            .m_axis_tdata(mac_tdata), .m_axis_tkeep(mac_tkeep), .m_axis_tvalid(mac_tvalid),
            .m_axis_tready(mac_tready), .m_axis_tlast(mac_tlast), .m_axis_tuser(mac_tuser),
            .ev_sent(ev_pause), .busy(pause_busy)
        );
    end else begin : g_no_pause
        logic unused_pause;

        assign unused_pause = ^{cfg_mac, cfg_pause, cfg_pause_quanta, cfg_pause_xoff,
                                cfg_pause_xon, rx_fill, paused};
        assign mac_tdata   = frame_tdata;
        assign mac_tkeep   = frame_tkeep;
        assign mac_tvalid  = frame_tvalid;
        assign frame_tready = mac_tready;
        assign mac_tlast   = frame_tlast;
        assign mac_tuser   = frame_tuser;
        assign ev_pause    = 1'b0;
        assign pause_busy  = 1'b0;
    end

    assign ev_wire = mac_frame && !ev_pause;  // a pause frame needs no padding: both come together

    mac_tx u_mac (
        .clk, .rst, .enable(cfg_enable),
        .s_axis_tdata(mac_tdata), .s_axis_tkeep(mac_tkeep), .s_axis_tvalid(mac_tvalid),
        .s_axis_tready(mac_tready), .s_axis_tlast(mac_tlast), .s_axis_tuser(mac_tuser),
        .xgmii_txd, .xgmii_txc, .ev_frame(mac_frame), .ev_len(ev_wire_len),
        .ev_underrun(ev_wire_underrun), .ev_stamp, .busy(wire_busy)
    );

    // ---- completions

    logic complete_busy;

    tx_complete #(.QueueW(QueueW), .CountW($clog2(BufferBytes / 8) + 1)) u_complete (
        .clk, .rst,
        .desc_push, .desc_full, .desc_queue(head_queue), .desc_index, .desc_len,
        .result_push, .result_full, .result_status, .result_fragments(frame.fragments),
        .result_part(frame.part), .result_stamp,
        .sending(cfg_enable), .stamp_push(ev_stamp), .stamp_told, .stamp_lost, .stamp(now),
        .cpl_push, .cpl_full, .cpl_queue, .cpl_entry, .cpl_last, .busy(complete_busy)
    );

    // Work begins in the first few, so that the others may be known a clock late.
    logic begun, begun_q, data_q;

    assign begun = side_busy || gather_busy || pause_busy || wire_busy;
    assign busy  = begun || begun_q || data_q;

    always_ff @(posedge clk) begin
        begun_q <= !rst && (begun || read_busy || told_valid || frame_valid || complete_busy);
        data_q  <= !rst && (landing_busy || pack_busy || segment_busy || vlan_busy || buffer_busy);
    end

endmodule

`default_nettype wire
