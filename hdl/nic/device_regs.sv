// Registers and counters of the device as a whole: identity, control, addresses and limits.

`default_nettype none

module device_regs
    import nic_regs_pkg::*;
#(
    parameter int Queues = 1,
    parameter int AxiDataW = 128,
    parameter int MaxFrame = 9018,
    parameter bit TxChecksum = 1,
    parameter bit TxSegment = 1,
    parameter bit RxOffload = 1'b1
) (
    input  wire logic                      clk,
    input  wire logic                      rst,

    // register bus
    input  wire logic                      write_ahead,
    input  wire logic                      write,
    input  wire logic [15:0]               write_addr,
    input  wire logic [31:0]               write_data,
    input  wire logic [31:0]               write_mask,
    output      logic                      write_known,
    input  wire logic                      read_ahead,
    input  wire logic [15:0]               read_addr,
    output      logic [31:0]               read_data,        // 0 if it is none of these
    output      logic                      read_known,
    output      logic                      read_is_counter,
    output      logic [31:0]               counter_high,     // in the clock of the read

    output      logic                      cfg_rx_enable,
    output      logic                      cfg_tx_enable,
    output      logic                      cfg_promiscuous,
    output      logic                      cfg_all_multicast,
    output      logic [47:0]               cfg_mac,          // first byte on the wire in [7:0]
    output      logic [15:0]               cfg_max_frame,
    output      logic [7:0]                cfg_default_queue,
    output      logic                      soft_reset,       // one clock
    input  wire logic                      soft_resetting,
    input  wire logic                      link_up,
    input  wire logic                      core_idle,
    input  wire logic [COUNTERS-1:0][15:0] steps             // in the order of the counters
);

    localparam int CounterW = $clog2(COUNTERS);

    ctrl_reg_t        ctrl_q, ctrl, ctrl_written;
    mac_lo_reg_t      mac_lo_q;
    mac_hi_reg_t      mac_hi_q;
    max_frame_reg_t   max_frame_q, max_frame_written;
    rx_steering_reg_t rx_steering_q;
    features_reg_t    features;
    status_reg_t      status;

    function automatic logic is_counter(input logic [15:0] addr);
        is_counter = addr >= COUNTER_BASE && addr < COUNTER_BASE + 16'(8 * COUNTERS);
    endfunction

    function automatic logic known(input logic [15:0] addr);
        case (addr)
            ID, FEATURES, CTRL, STATUS, MAC_LO, MAC_HI, MAX_FRAME, RX_STEERING: known = 1'b1;
            default: known = is_counter(addr);
        endcase
    endfunction

    // ---- write

    always_comb begin
        ctrl_written      = reg_merge(ctrl_q, write_data, write_mask & CTRL_WMASK);
        max_frame_written = reg_merge(max_frame_q, write_data, write_mask & MAX_FRAME_WMASK);
        if (max_frame_written.bytes > 16'(MaxFrame)) max_frame_written.bytes = 16'(MaxFrame);
    end

    logic at_ctrl_q, at_mac_lo_q, at_mac_hi_q, at_max_frame_q, at_rx_steering_q;

    assign soft_reset = write && at_ctrl_q && ctrl_written.soft_reset;

    always_ff @(posedge clk) begin
        if (write_ahead) begin
            at_ctrl_q        <= write_addr == CTRL;
            at_mac_lo_q      <= write_addr == MAC_LO;
            at_mac_hi_q      <= write_addr == MAC_HI;
            at_max_frame_q   <= write_addr == MAX_FRAME;
            at_rx_steering_q <= write_addr == RX_STEERING;
            write_known      <= known(write_addr);
        end
        if (write) begin
            if (at_ctrl_q) begin
                ctrl_q            <= ctrl_written;
                ctrl_q.soft_reset <= 1'b0;  // nic_reset remembers it
            end
            if (at_mac_lo_q)
                mac_lo_q <= reg_merge(mac_lo_q, write_data, write_mask & MAC_LO_WMASK);
            if (at_mac_hi_q)
                mac_hi_q <= reg_merge(mac_hi_q, write_data, write_mask & MAC_HI_WMASK);
            if (at_max_frame_q) max_frame_q <= max_frame_written;
            if (at_rx_steering_q)
                rx_steering_q <= reg_merge(rx_steering_q, write_data,
                                           write_mask & RX_STEERING_WMASK);
        end
        if (rst) begin
            ctrl_q        <= CTRL_RESET;
            mac_lo_q      <= MAC_LO_RESET;
            mac_hi_q      <= MAC_HI_RESET;
            max_frame_q   <= MAX_FRAME_RESET;
            rx_steering_q <= RX_STEERING_RESET;
        end
    end

    // ---- counters

    logic [15:0] counter_offset;
    logic [31:0] count;

    assign counter_offset = read_addr - COUNTER_BASE;

    counters #(.Counters(COUNTERS), .StepW(16)) u_counters (
        .clk,
        .rst,
        .step(steps),
        .index(CounterW'(counter_offset >> 3)),
        .low(count),
        .high(counter_high)
    );

    // ---- read

    always_comb begin
        features           = '0;
        features.queues    = 8'(Queues);
        features.axi_bytes = 8'(AxiDataW / 8);
        features.tx_checksum  = TxChecksum;
        features.tx_segment   = TxSegment;
        features.tx_vlan      = 1'b1;
        features.tx_timestamp = 1'b1;
        features.rx_offload   = RxOffload;
        features.rx_filters   = RxOffload;
        features.pause        = RxOffload;
        features.clock        = 1'b1;
        status             = '0;
        status.link_up     = link_up;
        status.idle        = core_idle;
        ctrl               = ctrl_q;
        ctrl.soft_reset    = soft_resetting;
    end

    logic known_q, is_counter_q;

    always_ff @(posedge clk) begin
        known_q      <= known(read_addr);
        is_counter_q <= is_counter(read_addr);
        if (read_ahead) begin
            read_known      <= known_q;
            read_is_counter <= is_counter_q;
            read_data       <= '0;
            if (is_counter_q) read_data <= read_addr[2] ? '0 : count;
            else if (known_q)
                case (read_addr[7:0])
                    ID[7:0]:          read_data <= ID_RESET;
                    FEATURES[7:0]:    read_data <= features;
                    CTRL[7:0]:        read_data <= ctrl;
                    STATUS[7:0]:      read_data <= status;
                    MAC_LO[7:0]:      read_data <= mac_lo_q;
                    MAC_HI[7:0]:      read_data <= mac_hi_q;
                    MAX_FRAME[7:0]:   read_data <= max_frame_q;
                    RX_STEERING[7:0]: read_data <= rx_steering_q;
                    default: ;
                endcase
        end
    end

    // ---- to the device

    assign cfg_rx_enable     = ctrl_q.rx_enable;
    assign cfg_tx_enable     = ctrl_q.tx_enable;
    assign cfg_promiscuous   = ctrl_q.promiscuous;
    assign cfg_all_multicast = ctrl_q.all_multicast;
    assign cfg_mac           = {mac_hi_q.value, mac_lo_q.value};
    assign cfg_max_frame     = max_frame_q.bytes;
    assign cfg_default_queue = rx_steering_q.default_queue;

endmodule

`default_nettype wire
