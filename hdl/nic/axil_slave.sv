// AXI4-Lite slave port in front of a register bus: one write and one read at a time, an address
// that no register answers to gets DECERR.  It holds no register.

`default_nettype none

module axil_slave #(
    parameter int AddrW = 16
) (
    input  wire logic             clk,
    input  wire logic             rst,

    // AXI4-Lite
    input  wire logic [AddrW-1:0] s_axil_awaddr,
    input  wire logic             s_axil_awvalid,
    output      logic             s_axil_awready,
    input  wire logic [31:0]      s_axil_wdata,
    input  wire logic [3:0]       s_axil_wstrb,
    input  wire logic             s_axil_wvalid,
    output      logic             s_axil_wready,
    output      logic [1:0]       s_axil_bresp,
    output      logic             s_axil_bvalid,
    input  wire logic             s_axil_bready,
    input  wire logic [AddrW-1:0] s_axil_araddr,
    input  wire logic             s_axil_arvalid,
    output      logic             s_axil_arready,
    output      logic [31:0]      s_axil_rdata,
    output      logic [1:0]       s_axil_rresp,
    output      logic             s_axil_rvalid,
    input  wire logic             s_axil_rready,

    // register bus, addresses of whole words.  `_ahead` comes a clock before the strobe; address and
    // data are there with it, the address of a read a clock before it.  The answer is due in the
    // clock of the strobe.
    output      logic             write_ahead,
    output      logic             write,
    output      logic [AddrW-1:0] write_addr,
    output      logic [31:0]      write_data,
    output      logic [31:0]      write_mask,  // a bit for each bit of the bytes to write
    input  wire logic             write_known,
    output      logic             read_ahead,
    output      logic             read,
    output      logic [AddrW-1:0] read_addr,
    input  wire logic [31:0]      read_data,   // 0 if not known
    input  wire logic             read_known,

    output      logic             busy
);

    localparam logic [1:0] Okay = 2'b00;
    localparam logic [1:0] DecErr = 2'b11;

    logic       addr_held_q, data_held_q, read_held_q, read_shown_q;
    logic [3:0] strobe_q;

    // ---- write: address and data come in any order

    assign s_axil_awready = !addr_held_q;
    assign s_axil_wready  = !data_held_q;
    assign write_ahead    = addr_held_q && data_held_q && !s_axil_bvalid && !write;

    for (genvar i = 0; i < 4; i++) begin : g_byte
        assign write_mask[8*i +: 8] = {8{strobe_q[i]}};
    end

    always_ff @(posedge clk) begin
        if (s_axil_awvalid && s_axil_awready) begin
            addr_held_q <= 1'b1;
            write_addr  <= s_axil_awaddr & ~(AddrW'(3));
        end
        if (s_axil_wvalid && s_axil_wready) begin
            data_held_q <= 1'b1;
            write_data  <= s_axil_wdata;
            strobe_q    <= s_axil_wstrb;
        end
        if (s_axil_bready) s_axil_bvalid <= 1'b0;
        write <= write_ahead;
        if (write) begin
            addr_held_q   <= 1'b0;
            data_held_q   <= 1'b0;
            s_axil_bvalid <= 1'b1;
            s_axil_bresp  <= write_known ? Okay : DecErr;
        end
        if (rst) begin
            addr_held_q   <= 1'b0;
            data_held_q   <= 1'b0;
            write         <= 1'b0;
            s_axil_bvalid <= 1'b0;
        end
    end

    // ---- read

    assign s_axil_arready = !read_held_q;
    assign read_ahead     = read_shown_q && !s_axil_rvalid && !read;

    always_ff @(posedge clk) begin
        if (s_axil_arvalid && s_axil_arready) begin
            read_held_q <= 1'b1;
            read_addr   <= s_axil_araddr & ~(AddrW'(3));
        end
        if (s_axil_rready) s_axil_rvalid <= 1'b0;
        read         <= read_ahead;
        read_shown_q <= read_held_q && !read;
        if (read) begin
            read_held_q   <= 1'b0;
            s_axil_rvalid <= 1'b1;
            s_axil_rdata  <= read_data;
            s_axil_rresp  <= read_known ? Okay : DecErr;
        end
        if (rst) begin
            read_held_q   <= 1'b0;
            read          <= 1'b0;
            read_shown_q  <= 1'b0;
            s_axil_rvalid <= 1'b0;
        end
    end

    assign busy = s_axil_awvalid || s_axil_wvalid || s_axil_arvalid || s_axil_bvalid
        || s_axil_rvalid || addr_held_q || data_held_q || read_held_q;

endmodule

`default_nettype wire
