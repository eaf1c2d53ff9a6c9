// The transmit path, its blocks in packet order.  It holds instances and wires only.
//
//   read client 0 (descriptors) -> ring_side -> tx_engine
//   read client 1 (data) -> tx_engine -> tx_buffer -> mac_tx -> wire
//                               '-> ring_side -> write client (completions)

`default_nettype none

module nic_tx
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int BufferBytes = 32768,
    parameter int QueueW = Queues > 1 ? $clog2(Queues) : 1
) (
    input  wire logic                           clk,
    input  wire logic                           rst,

    // XGMII
    output      logic [63:0]                    xgmii_txd,
    output      logic [7:0]                     xgmii_txc,

    // registers of the device
    input  wire logic                           cfg_enable,
    input  wire logic [15:0]                    cfg_max_frame,

    // registers of the rings
    input  wire logic [Queues-1:0]              enable,
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
    input  wire logic [1:0]                     read_tresp_job,

    // write client: completions
    output      logic                           write_job_valid,
    input  wire logic                           write_job_ready,
    output      logic [AddrW-1:0]               write_job_addr,
    output      logic [15:0]                    write_job_len,
    output      logic [QueueW-1:0]              write_job_tag,
    output      logic [DataW-1:0]               write_tdata,
    output      logic                           write_tvalid,
    input  wire logic                           write_tready,
    input  wire logic                           write_done,
    input  wire logic [QueueW-1:0]              write_done_tag,
    input  wire logic [1:0]                     write_done_resp,

    // interrupts
    output      logic [Queues-1:0]              start,
    output      logic [Queues-1:0]              failed,

    // one clock a frame: how it left the bus side, and the wire side
    output      logic [Queues-1:0]              ev_frame,
    output      logic [Queues-1:0]              ev_length,
    output      logic [Queues-1:0]              ev_bus_error,
    output      logic                           ev_wire,
    output      logic [15:0]                    ev_wire_len,
    output      logic                           ev_wire_underrun,

    output      logic                           wire_busy,
    output      logic                           busy
);

    localparam int RdDesc = 0;
    localparam int RdData = 1;

    // ---- rings, descriptors and completions

    logic [Queues-1:0] ready, pop;
    logic [Queues-1:0] unused_running, unused_posted;
    logic [Queues-1:0][15:0] consumed;
    logic [QueueW-1:0] head_queue, cpl_queue;
    logic [127:0] head_desc;
    logic [1:0] head_resp;
    logic cpl_push, cpl_full, cpl_has_data, side_busy;
    logic [127:0] cpl_entry;
    logic data_done;
    logic [1:0] data_resp;

    ring_side #(.Queues(Queues), .DataW(DataW), .AddrW(AddrW)) u_side (
        .clk, .rst,
        .enable, .log2_entries, .doorbell, .doorbell_producer, .desc_base, .cpl_base,
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
        .running(unused_running), .posted(unused_posted), .ready, .consumed, .pop, .head_queue,
        .head_desc, .head_resp,
        .cpl_push, .cpl_full, .cpl_queue, .cpl_entry, .cpl_has_data,
        .data_done, .data_resp,
        .start, .failed, .ev_frame, .ev_length, .ev_bus_error, .busy(side_busy)
    );

    // ---- memory to buffer

    logic [DataW-1:0] frame_tdata;
    logic [DataW/8-1:0] frame_tkeep;
    logic frame_tvalid, frame_tready, frame_tlast, frame_tuser, engine_busy;
    logic [15:0] free_bytes;

    tx_engine #(.Queues(Queues), .DataW(DataW), .AddrW(AddrW)) u_engine (
        .clk, .rst, .cfg_max_frame,
        .ready, .consumed, .pop, .head_queue, .head_desc, .head_resp,
        .job_valid(read_job_valid[RdData]), .job_ready(read_job_ready[RdData]),
        .job_addr(read_job_addr[RdData]), .job_len(read_job_len[RdData]),
        .job_tag(read_job_tag[RdData]),
        .s_axis_tdata(read_tdata), .s_axis_tkeep(read_tkeep), .s_axis_tvalid(read_tvalid[RdData]),
        .s_axis_tready(read_tready[RdData]), .s_axis_tlast(read_tlast),
        .s_axis_tresp_job(read_tresp_job),
        .m_axis_tdata(frame_tdata), .m_axis_tkeep(frame_tkeep), .m_axis_tvalid(frame_tvalid),
        .m_axis_tready(frame_tready), .m_axis_tlast(frame_tlast), .m_axis_tuser(frame_tuser),
        .free_bytes,
        .cpl_push, .cpl_full, .cpl_queue, .cpl_entry, .cpl_has_data,
        .data_done, .data_resp, .busy(engine_busy)
    );

    // ---- buffer to wire

    logic [63:0] send_tdata;
    logic [7:0] send_tkeep;
    logic send_tvalid, send_tready, send_tlast, buffer_busy;

    tx_buffer #(.Bytes(BufferBytes), .DataW(DataW)) u_buffer (
        .clk, .rst,
        .s_axis_tdata(frame_tdata), .s_axis_tkeep(frame_tkeep), .s_axis_tvalid(frame_tvalid),
        .s_axis_tready(frame_tready), .s_axis_tlast(frame_tlast), .s_axis_tuser(frame_tuser),
        .free_bytes, .busy(buffer_busy),
        .m_axis_tdata(send_tdata), .m_axis_tkeep(send_tkeep), .m_axis_tvalid(send_tvalid),
        .m_axis_tready(send_tready), .m_axis_tlast(send_tlast)
    );

    mac_tx u_mac (
        .clk, .rst, .enable(cfg_enable),
        .s_axis_tdata(send_tdata), .s_axis_tkeep(send_tkeep), .s_axis_tvalid(send_tvalid),
        .s_axis_tready(send_tready), .s_axis_tlast(send_tlast),
        .xgmii_txd, .xgmii_txc, .ev_frame(ev_wire), .ev_len(ev_wire_len),
        .ev_underrun(ev_wire_underrun), .busy(wire_busy)
    );

    assign busy = side_busy || engine_busy || buffer_busy || wire_busy;

endmodule

`default_nettype wire
