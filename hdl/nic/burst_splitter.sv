// Cuts a job (address, bytes) into AXI INCR bursts.  A burst ends where the job ends or at the next
// multiple of MaxBurstBytes, so none crosses a 4 KiB boundary.  It knows nothing of data.
//
//   job     |-------------------------------|
//   burst   |--0--|---1----|---2----|---3---|      | = multiples of MaxBurstBytes inside

`default_nettype none

module burst_splitter #(
    parameter int DataW = 128,
    parameter int AddrW = 64,
    parameter int MaxBurstBytes = 512  // power of two, DataW/8 to 4096, at most 256 beats
) (
    input  wire logic             clk,
    input  wire logic             rst,

    input  wire logic             job_valid,
    output      logic             job_ready,
    input  wire logic [AddrW-1:0] job_addr,
    input  wire logic [15:0]      job_len,     // bytes, not 0

    output      logic             burst_valid,
    input  wire logic             burst_ready,
    output      logic [AddrW-1:0] burst_addr,  // exact: the first byte wanted
    output      logic [7:0]       burst_len,   // beats - 1
    output      logic             burst_last   // of its job
);

    localparam int BeatBytes = DataW / 8;
    localparam int BeatW = $clog2(BeatBytes);
    localparam int BurstW = $clog2(MaxBurstBytes);

`ifndef SYNTHESIS
    initial begin
        if (MaxBurstBytes < BeatBytes || MaxBurstBytes > 4096 || MaxBurstBytes > 256 * BeatBytes
            || (MaxBurstBytes & (MaxBurstBytes - 1)) != 0) begin
            $display("burst_splitter: MaxBurstBytes=%0d does not suit DataW=%0d", MaxBurstBytes,
                     DataW);
            $fatal;
        end
    end
`endif

    logic             valid_q, awake;
    logic [AddrW-1:0] addr_q;
    logic [15:0]      left_q;

    // A burst that is not the last ends at the multiple: its beats are the complement of its first.
    logic [BurstW:0]         room_q;  // up to the next multiple
    logic [BurstW-BeatW:0]   last_beat, full_beat;
    logic [AddrW-BurstW-1:0] next_block;
    logic [BeatW-1:0]        offset;

    assign offset     = addr_q[BeatW-1:0];
    assign burst_last = left_q <= 16'(room_q);
    assign last_beat  = (BurstW - BeatW + 1)'(
        (left_q[BurstW:0] + {{BurstW - BeatW + 1{offset == '0}}, offset - 1'b1}) >> BeatW);
    assign full_beat  = ~{1'b1, addr_q[BurstW-1:BeatW]};
    assign next_block = addr_q[AddrW-1:BurstW] + 1'b1;

    assign burst_valid = valid_q;
    assign burst_addr  = addr_q;
    assign burst_len   = 8'(burst_last ? last_beat : full_beat);
    assign job_ready   = !valid_q;  // not in the clock of the last burst: that would be a long path

    assign awake = job_valid || valid_q || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            valid_q <= valid_q ? !(burst_ready && burst_last) : job_valid;
            if (burst_valid && burst_ready) begin
                addr_q <= {next_block, BurstW'(0)};
                left_q <= left_q - 16'(room_q);
                room_q <= (BurstW + 1)'(MaxBurstBytes);
            end
            if (job_valid && job_ready) begin
                addr_q  <= job_addr;
                left_q  <= job_len;
                room_q  <= (BurstW + 1)'(MaxBurstBytes) - (BurstW + 1)'(job_addr[BurstW-1:0]);
            end
            if (rst) valid_q <= 1'b0;
`ifndef SYNTHESIS
            assert (rst || !job_valid || job_len != 16'd0)
            else $fatal(1, "burst_splitter: a job of no bytes");
`endif
        end
    end

endmodule

`default_nettype wire
