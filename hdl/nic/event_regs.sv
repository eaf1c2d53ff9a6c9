// Events of the device and their interrupt line: the link came or went, a ring has stopped by an
// error.  An event stays until it is cleared; the mask only holds the line.

`default_nettype none

module event_regs
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1
) (
    input  wire logic              clk,
    input  wire logic              rst,

    // register bus
    input  wire logic              write_ahead,
    input  wire logic              write,
    input  wire logic [15:0]       write_addr,
    input  wire logic [31:0]       write_data,
    input  wire logic [31:0]       write_mask,
    output      logic              write_known,
    input  wire logic              read_ahead,
    input  wire logic [15:0]       read_addr,
    output      logic [31:0]       read_data,  // 0 if it is none of these
    output      logic              read_known,

    input  wire logic              link_up,
    input  wire logic [Queues-1:0] rx_failed,  // level, until the ring is disabled
    input  wire logic [Queues-1:0] tx_failed,

    output      logic              irq,
    output      logic              busy
);

    function automatic logic known(input logic [15:0] addr);
        known = addr == EVENT_STATUS || addr == EVENT_MASK || addr == EVENT_RINGS;
    endfunction

    event_status_reg_t   status_q, events;
    event_mask_reg_t     mask_q;
    event_rings_reg_t    rings, rings_q;
    logic                link_q, at_status_q, at_mask_q;
    logic [31:0]         cleared;

    always_comb begin
        rings    = '0;
        rings.rx = 16'(rx_failed);
        rings.tx = 16'(tx_failed);
        events   = '0;
        events.link_change = link_up != link_q;
        events.ring_error  = (rings & ~rings_q) != '0;
    end

    assign cleared = write && at_status_q ? write_data & write_mask : '0;

    always_ff @(posedge clk) begin
        link_q   <= link_up;
        rings_q  <= rings;
        status_q <= (status_q & ~cleared) | events;
        if (write && at_mask_q)
            mask_q <= reg_merge(mask_q, write_data, write_mask & EVENT_MASK_WMASK);
        if (rst) begin
            rings_q  <= '0;
            status_q <= EVENT_STATUS_RESET;
            mask_q   <= EVENT_MASK_RESET;
        end
    end

    always_ff @(posedge clk) begin
        if (write_ahead) begin
            at_status_q <= write_addr == EVENT_STATUS;
            at_mask_q   <= write_addr == EVENT_MASK;
            write_known <= known(write_addr);
        end
        if (read_ahead) begin
            read_known <= known(read_addr);
            case (read_addr)
                EVENT_STATUS: read_data <= status_q;
                EVENT_MASK:   read_data <= mask_q;
                EVENT_RINGS:  read_data <= rings;
                default:      read_data <= '0;
            endcase
        end
    end

    assign irq         = (status_q & ~mask_q) != '0;
    assign busy        = link_up != link_q || rings != rings_q;

endmodule

`default_nettype wire
