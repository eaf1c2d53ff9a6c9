// The bursts of a job lie one behind the other, cover it exactly, and none crosses a multiple of
// MaxBurstBytes, so no 4 KiB boundary either (IHI 0022 A3.4.1).

    logic [AddrW-1:0] f_end_q;   // after the job
    logic [AddrW-1:0] f_first, f_beyond;
    logic [16:0]      f_bytes;

    assign f_bytes  = burst_last ? 17'(left_q) : 17'(room_q);
    assign f_first  = burst_addr & ~(AddrW'(BeatBytes - 1));
    assign f_beyond = f_first + (AddrW'(burst_len) + 1'b1) * AddrW'(BeatBytes);  // after its beats

    always_ff @(posedge clk) begin
        if (job_valid && job_ready) f_end_q <= job_addr + AddrW'(job_len);
        if (!rst) begin
            assume (!job_valid || (job_len != 16'd0 && job_addr < 2 ** 17));
            if (burst_valid) begin
                assert (left_q != 16'd0);
                assert (room_q == (BurstW + 1)'(MaxBurstBytes)
                    - (BurstW + 1)'(addr_q[BurstW-1:0]));
                assert (f_end_q > burst_addr && f_end_q < 2 ** 18);
                assert (burst_addr + AddrW'(left_q) == f_end_q);
                assert (32'(f_bytes) <= MaxBurstBytes);
                assert (burst_addr[AddrW-1:BurstW] == AddrW'(f_beyond - 1'b1) >> BurstW);
                assert (burst_addr + AddrW'(f_bytes) <= f_beyond);
                assert (burst_addr + AddrW'(f_bytes) + AddrW'(BeatBytes) > f_beyond);
            end
            cover (burst_valid && burst_last && burst_addr[BurstW-1:0] != '0 && burst_len == 8'd1);
            cover (burst_valid && burst_ready && !burst_last);
        end
    end
