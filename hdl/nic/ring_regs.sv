// Registers of one ring.  It holds what the driver set and shows what queue_ring reports; the
// doorbell is passed on, a clock ahead of all other writes, and not kept here.

`default_nettype none

module ring_regs
    import nic_regs_pkg::*;
(
    input  wire logic        clk,
    input  wire logic        rst,

    // register bus, offsets within the block
    input  wire logic        write_ahead,
    input  wire logic        write,
    input  wire logic [5:0]  write_offset,
    input  wire logic [31:0] write_data,
    input  wire logic [31:0] write_mask,
    output      logic        write_known,
    input  wire logic [5:0]  read_offset,
    output      logic [31:0] read_data,
    output      logic        read_known,

    // ring
    output      logic        enable,
    output      logic        run_on,
    output      logic [3:0]  log2_entries,
    output      logic        doorbell,
    output      logic [15:0] doorbell_producer,
    output      logic [63:0] desc_base,
    output      logic [63:0] cpl_base,
    input  wire logic        active,
    input  wire logic [3:0]  error,
    input  wire logic [15:0] producer,
    input  wire logic [15:0] fetched,
    input  wire logic [15:0] completed
);

    ring_ctrl_reg_t         ctrl_q;
    ring_size_reg_t         size_q;
    ring_desc_base_lo_reg_t desc_lo_q;
    ring_desc_base_hi_reg_t desc_hi_q;
    ring_cpl_base_lo_reg_t  cpl_lo_q;
    ring_cpl_base_hi_reg_t  cpl_hi_q;
    ring_status_reg_t       status;
    ring_doorbell_reg_t     producer_word;
    ring_progress_reg_t     progress;

    function automatic logic known(input logic [5:0] offset);
        case (offset)
            RING_CTRL, RING_STATUS, RING_SIZE, RING_DOORBELL, RING_DESC_BASE_LO, RING_DESC_BASE_HI,
            RING_CPL_BASE_LO, RING_CPL_BASE_HI, RING_PROGRESS: known = 1'b1;
            default: known = 1'b0;
        endcase
    endfunction

    // ---- write

    logic at_ctrl_q, at_size_q, at_desc_lo_q, at_desc_hi_q, at_cpl_lo_q, at_cpl_hi_q;

    always_ff @(posedge clk) begin
        at_ctrl_q    <= write_ahead && write_offset == RING_CTRL;
        at_size_q    <= write_ahead && write_offset == RING_SIZE;
        at_desc_lo_q <= write_ahead && write_offset == RING_DESC_BASE_LO;
        at_desc_hi_q <= write_ahead && write_offset == RING_DESC_BASE_HI;
        at_cpl_lo_q  <= write_ahead && write_offset == RING_CPL_BASE_LO;
        at_cpl_hi_q  <= write_ahead && write_offset == RING_CPL_BASE_HI;
        if (write) begin
            if (at_ctrl_q) ctrl_q <= reg_merge(ctrl_q, write_data, write_mask & RING_CTRL_WMASK);
            if (at_size_q) size_q <= reg_merge(size_q, write_data, write_mask & RING_SIZE_WMASK);
            if (at_desc_lo_q) desc_lo_q <= reg_merge(desc_lo_q, write_data, write_mask);
            if (at_desc_hi_q) desc_hi_q <= reg_merge(desc_hi_q, write_data, write_mask);
            if (at_cpl_lo_q) cpl_lo_q <= reg_merge(cpl_lo_q, write_data, write_mask);
            if (at_cpl_hi_q) cpl_hi_q <= reg_merge(cpl_hi_q, write_data, write_mask);
        end
        if (rst) begin
            ctrl_q    <= RING_CTRL_RESET;
            size_q    <= RING_SIZE_RESET;
            desc_lo_q <= RING_DESC_BASE_LO_RESET;
            desc_hi_q <= RING_DESC_BASE_HI_RESET;
            cpl_lo_q  <= RING_CPL_BASE_LO_RESET;
            cpl_hi_q  <= RING_CPL_BASE_HI_RESET;
        end
    end

    assign producer_word     = 32'(producer);
    assign doorbell          = write_ahead && write_offset == RING_DOORBELL;
    assign doorbell_producer = 16'(reg_merge(producer_word, write_data, write_mask));
    assign write_known       = known(write_offset);

    // ---- read

    always_comb begin
        status             = '0;
        status.active      = active;
        status.error       = error;
        progress.fetched   = fetched;
        progress.completed = completed;
    end

    always_comb begin
        case (read_offset)
            RING_CTRL:         read_data = ctrl_q;
            RING_STATUS:       read_data = status;
            RING_SIZE:         read_data = size_q;
            RING_DOORBELL:     read_data = producer_word;
            RING_DESC_BASE_LO: read_data = desc_lo_q;
            RING_DESC_BASE_HI: read_data = desc_hi_q;
            RING_CPL_BASE_LO:  read_data = cpl_lo_q;
            RING_CPL_BASE_HI:  read_data = cpl_hi_q;
            RING_PROGRESS:     read_data = progress;
            default:           read_data = '0;
        endcase
    end

    assign read_known = known(read_offset);

    // ---- to the ring

    assign enable       = ctrl_q.enable;
    assign run_on       = ctrl_q.run_on;
    assign log2_entries = size_q.log2_entries;
    assign desc_base    = {desc_hi_q, desc_lo_q};
    assign cpl_base     = {cpl_hi_q, cpl_lo_q};

endmodule

`default_nettype wire
