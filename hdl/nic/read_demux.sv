// Hands each packet of the read DMA to the client that asked for it.  The stream is shared, only
// valid and ready are separate.

`default_nettype none

module read_demux #(
    parameter int Clients = 3,
    parameter int ClientW = Clients > 1 ? $clog2(Clients) : 1
) (
    input  wire logic               s_axis_tvalid,
    output      logic               s_axis_tready,
    input  wire logic [ClientW-1:0] s_axis_tclient,
    output      logic [Clients-1:0] m_axis_tvalid,
    input  wire logic [Clients-1:0] m_axis_tready
);

    assign m_axis_tvalid = s_axis_tvalid ? Clients'(1) << s_axis_tclient : '0;
    assign s_axis_tready = m_axis_tready[s_axis_tclient];

endmodule

`default_nettype wire
