// Registers and counters of one queue pair: two ring blocks, the interrupt's registers and the
// queue's counters.

`default_nettype none

module queue_regs
    import nic_regs_pkg::*;
(
    input  wire logic                  clk,
    input  wire logic                  rst,

    // register bus, offsets within the block; whether the address is in it
    input  wire logic                  write_ahead,
    input  wire logic                  write_here,
    input  wire logic                  write,
    input  wire logic [7:0]            write_offset,
    input  wire logic [31:0]           write_data,
    input  wire logic [31:0]           write_mask,
    output      logic                  write_known,
    input  wire logic                  read_ahead,
    input  wire logic                  read_here,
    input  wire logic [7:0]            read_offset,
    output      logic [31:0]           read_data,        // 0 if it is none of these
    output      logic                  read_known,
    output      logic                  read_is_counter,
    output      logic [31:0]           counter_high,     // in the clock of the read

    // rings, receive [0] and transmit [1]
    output      logic [1:0]            enable,
    output      logic [1:0]            run_on,
    output      logic [1:0][3:0]       log2_entries,
    output      logic [1:0]            doorbell,
    output      logic [1:0][15:0]      doorbell_producer,
    output      logic [1:0][63:0]      desc_base,
    output      logic [1:0][63:0]      cpl_base,
    input  wire logic [1:0]            active,
    input  wire logic [1:0][3:0]       error,
    input  wire logic [1:0][15:0]      producer,
    input  wire logic [1:0][15:0]      fetched,
    input  wire logic [1:0][15:0]      completed,

    // interrupt
    output      logic                  irq_mask,
    output      logic [15:0]           irq_cycles,
    output      logic [15:0]           irq_count,
    output      logic                  irq_arm,
    output      logic [15:0]           irq_rx_consumer,
    output      logic [15:0]           irq_tx_consumer,
    input  wire logic                  irq_armed,
    input  wire logic                  irq_fired,
    input  wire logic                  irq_raised,       // the line

    // counted events, in the order of the counters
    input  wire logic [Q_COUNTERS-1:0] events
);

    function automatic logic is_counter(input logic [7:0] offset);
        is_counter = 5'((offset - Q_COUNTER_BASE) >> 3) < 5'(Q_COUNTERS);
    endfunction

    function automatic logic is_irq(input logic [7:0] offset);
        is_irq = offset == Q_IRQ_MASK || offset == Q_IRQ_ARM || offset == Q_IRQ_MODERATION
            || offset == Q_IRQ_STATUS;
    endfunction

    // ---- ring blocks

    logic [1:0]       write_ring, ring_write_known, ring_read_known, read_ring;
    logic [1:0][31:0] ring_data;

    assign write_ring = {write_offset[7:6] == Q_TX[7:6], write_offset[7:6] == Q_RX[7:6]};
    assign read_ring  = {read_offset[7:6] == Q_TX[7:6], read_offset[7:6] == Q_RX[7:6]};

    for (genvar r = 0; r < 2; r++) begin : g_ring
        ring_regs u_ring_regs (
            .clk,
            .rst,
            .write_ahead(write_ahead && write_here && write_ring[r]),
            .write,
            .write_offset(write_offset[5:0]),
            .write_data,
            .write_mask,
            .write_known(ring_write_known[r]),
            .read_offset(read_offset[5:0]),
            .read_data(ring_data[r]),
            .read_known(ring_read_known[r]),
            .enable(enable[r]),
            .run_on(run_on[r]),
            .log2_entries(log2_entries[r]),
            .doorbell(doorbell[r]),
            .doorbell_producer(doorbell_producer[r]),
            .desc_base(desc_base[r]),
            .cpl_base(cpl_base[r]),
            .active(active[r]),
            .error(error[r]),
            .producer(producer[r]),
            .fetched(fetched[r]),
            .completed(completed[r])
        );
    end

    // ---- interrupt registers

    q_irq_mask_reg_t       mask_q;
    q_irq_arm_reg_t        arm_q, arm_written;
    q_irq_moderation_reg_t moderation_q;
    q_irq_status_reg_t     irq_status;

    assign arm_written = reg_merge(arm_q, write_data, write_mask);

    logic at_mask_q, at_arm_q, at_moderation_q;

    always_ff @(posedge clk) begin
        if (write_ahead) begin
            at_mask_q       <= write_here && write_offset == Q_IRQ_MASK;
            at_arm_q        <= write_here && write_offset == Q_IRQ_ARM;
            at_moderation_q <= write_here && write_offset == Q_IRQ_MODERATION;
            write_known     <= write_here && (|(write_ring & ring_write_known)
                || is_irq(write_offset) || is_counter(write_offset));
        end
        if (write) begin
            if (at_mask_q) mask_q <= reg_merge(mask_q, write_data, write_mask & Q_IRQ_MASK_WMASK);
            if (at_arm_q) arm_q <= arm_written;
            if (at_moderation_q) moderation_q <= reg_merge(moderation_q, write_data, write_mask);
        end
        if (mask_q.auto_mask && irq_raised) mask_q.mask <= 1'b1;
        if (mask_q.auto_mask && irq_arm) mask_q.mask <= 1'b0;
        if (rst) begin
            mask_q       <= Q_IRQ_MASK_RESET;
            arm_q        <= Q_IRQ_ARM_RESET;
            moderation_q <= Q_IRQ_MODERATION_RESET;
        end
    end

    always_comb begin
        irq_status       = '0;
        irq_status.armed = irq_armed;
        irq_status.fired = irq_fired;
    end

    assign irq_mask        = mask_q.mask;
    assign irq_cycles      = moderation_q.cycles;
    assign irq_count       = moderation_q.count;
    assign irq_arm         = write && at_arm_q;
    assign irq_rx_consumer = arm_written.rx_consumer;
    assign irq_tx_consumer = arm_written.tx_consumer;

    // ---- counters

    logic [7:0]  counter_offset;
    logic [31:0] count;

    assign counter_offset = read_offset - Q_COUNTER_BASE;

    counters #(.Counters(Q_COUNTERS), .StepW(1)) u_counters (
        .clk,
        .rst,
        .step(events),
        .index(3'(counter_offset >> 3)),
        .low(count),
        .high(counter_high)
    );

    // ---- read

    logic [31:0] word;
    logic        known_q, is_counter_q;

    always_comb begin
        case (read_offset)
            Q_IRQ_MASK:       word = mask_q;
            Q_IRQ_ARM:        word = arm_q;
            Q_IRQ_MODERATION: word = moderation_q;
            Q_IRQ_STATUS:     word = irq_status;
            default:          word = read_ring[0] ? ring_data[0] : ring_data[1];
        endcase
    end

    always_ff @(posedge clk) begin
        known_q      <= read_here && (|(read_ring & ring_read_known) || is_irq(read_offset));
        is_counter_q <= read_here && is_counter(read_offset);
        if (read_ahead) begin
            read_known      <= known_q || is_counter_q;
            read_is_counter <= is_counter_q;
            read_data       <= known_q ? word : '0;
            if (is_counter_q) read_data <= read_offset[2] ? '0 : count;
        end
    end

endmodule

`default_nettype wire
