// AXI4-Lite, IHI 0022 A3.2.1: what is valid stays, unchanged, until it is taken, and there are as
// many responses as requests.

    logic [1:0] f_aw_q = '0, f_w_q = '0, f_ar_q = '0;  // accepted and not answered
    logic       f_past_q = 1'b0;

    always_ff @(posedge clk) begin
        f_past_q <= !rst;
        if (!rst) begin
            f_aw_q <= f_aw_q + 2'(s_axil_awvalid && s_axil_awready)
                - 2'(s_axil_bvalid && s_axil_bready);
            f_w_q  <= f_w_q + 2'(s_axil_wvalid && s_axil_wready)
                - 2'(s_axil_bvalid && s_axil_bready);
            f_ar_q <= f_ar_q + 2'(s_axil_arvalid && s_axil_arready)
                - 2'(s_axil_rvalid && s_axil_rready);
            assert (f_aw_q == 2'(addr_held_q) + 2'(s_axil_bvalid));
            assert (f_w_q == 2'(data_held_q) + 2'(s_axil_bvalid));
            assert (f_ar_q == 2'(read_held_q) + 2'(s_axil_rvalid));
            assert (!(read || read_shown_q) || read_held_q);
            assert (!write || (addr_held_q && data_held_q && !s_axil_bvalid));
            assert (!read || !s_axil_rvalid);
            assert (!s_axil_bvalid || (f_aw_q != '0 && f_w_q != '0));
            assert (!s_axil_rvalid || f_ar_q != '0);
            if (f_past_q && $past(s_axil_bvalid && !s_axil_bready))
                assert (s_axil_bvalid && $stable(s_axil_bresp));
            if (f_past_q && $past(s_axil_rvalid && !s_axil_rready))
                assert (s_axil_rvalid && $stable(s_axil_rresp) && $stable(s_axil_rdata));
            cover (s_axil_bvalid && addr_held_q && data_held_q);
            cover (s_axil_rvalid && s_axil_rready && read_held_q);
        end else begin
            f_aw_q <= '0;
            f_w_q  <= '0;
            f_ar_q <= '0;
        end
    end
