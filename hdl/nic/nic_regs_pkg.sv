// Generated from hdl/nic.rdl by `wire2app regs`: do not edit.
// Register addresses and layouts, ring entries, status codes.
`default_nettype none

// The map is whole, whether or not the RTL uses each part of it.
// verilator lint_off UNUSEDPARAM
package nic_regs_pkg;

    typedef enum logic [3:0] {
        // The frame was transferred.
        CPL_STATUS_OK = 4'd0,
        // SLVERR on the frame's data.
        CPL_STATUS_DATA_SLVERR = 4'd1,
        // DECERR on the frame's data.
        CPL_STATUS_DATA_DECERR = 4'd2,
        // SLVERR on the descriptor fetch; no data was touched.
        CPL_STATUS_DESC_SLVERR = 4'd3,
        // DECERR on the descriptor fetch; no data was touched.
        CPL_STATUS_DESC_DECERR = 4'd4,
        // TX: a length or position in the descriptors that rings.md rules out. RX: buffer length 0.
        CPL_STATUS_BAD_LENGTH = 4'd5,
        // RX: the frame was longer than the buffers that were posted; the head of it was written.
        CPL_STATUS_TRUNCATED = 4'd6
    } cpl_status_e;

    typedef enum logic [1:0] {
        // No hash was taken.
        HASH_TYPE_NONE = 2'd0,
        // Source and destination IP address.
        HASH_TYPE_ADDRESSES = 2'd1,
        // The addresses, source and destination port of TCP.
        HASH_TYPE_TCP = 2'd2,
        // The addresses, source and destination port of UDP.
        HASH_TYPE_UDP = 2'd3
    } hash_type_e;

    typedef enum logic [3:0] {
        // No error.
        QUEUE_ERROR_NONE = 4'd0,
        // SLVERR on a completion write: the queue has stopped.
        QUEUE_ERROR_CPL_SLVERR = 4'd1,
        // DECERR on a completion write: the queue has stopped.
        QUEUE_ERROR_CPL_DECERR = 4'd2,
        // The producer index ran further ahead than the ring is long: the queue has stopped.
        QUEUE_ERROR_BAD_DOORBELL = 4'd3,
        // SLVERR on a descriptor fetch: the queue has stopped. TX: always, for what follows cannot
        // be told.
        QUEUE_ERROR_DESC_SLVERR = 4'd4,
        // DECERR on a descriptor fetch: the queue has stopped.
        QUEUE_ERROR_DESC_DECERR = 4'd5,
        // SLVERR on a frame's data, as a completion says of which: the queue has stopped.
        QUEUE_ERROR_DATA_SLVERR = 4'd6,
        // DECERR on a frame's data: the queue has stopped.
        QUEUE_ERROR_DATA_DECERR = 4'd7
    } queue_error_e;

    // Device registers: address, reset value, writable bits, layout.

    // Identity.
    localparam logic [15:0] ID = 16'h0000;
    localparam logic [31:0] ID_RESET = 32'h57324131;
    typedef struct packed {
        logic [31:0] magic;
    } id_reg_t;

    // What this instance was built with.
    localparam logic [15:0] FEATURES = 16'h0004;
    typedef struct packed {
        logic [3:0] reserved_31_28;
        logic clock;
        logic pause;
        logic rx_filters;
        logic rx_offload;
        logic [3:0] reserved_23_20;
        logic tx_timestamp;
        logic tx_vlan;
        logic tx_segment;
        logic tx_checksum;
        logic [7:0] axi_bytes;
        logic [7:0] queues;
    } features_reg_t;

    // Device control.
    localparam logic [15:0] CTRL = 16'h0008;
    localparam logic [31:0] CTRL_RESET = 32'h00000000;
    localparam logic [31:0] CTRL_WMASK = 32'h8000000f;
    typedef struct packed {
        logic soft_reset;
        logic [26:0] reserved_30_4;
        logic all_multicast;
        logic promiscuous;
        logic tx_enable;
        logic rx_enable;
    } ctrl_reg_t;

    // Device state.
    localparam logic [15:0] STATUS = 16'h000c;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic idle;
        logic link_up;
    } status_reg_t;

    // Own unicast address, first four bytes on the wire, the first in bits 7:0.
    localparam logic [15:0] MAC_LO = 16'h0010;
    localparam logic [31:0] MAC_LO_RESET = 32'h00000000;
    localparam logic [31:0] MAC_LO_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } mac_lo_reg_t;

    // Own unicast address, the last two bytes, byte 4 in bits 7:0.
    localparam logic [15:0] MAC_HI = 16'h0014;
    localparam logic [31:0] MAC_HI_RESET = 32'h00000000;
    localparam logic [31:0] MAC_HI_WMASK = 32'h0000ffff;
    typedef struct packed {
        logic [15:0] reserved_31_16;
        logic [15:0] value;
    } mac_hi_reg_t;

    // Longest frame accepted and sent, without FCS.
    localparam logic [15:0] MAX_FRAME = 16'h0018;
    localparam logic [31:0] MAX_FRAME_RESET = 32'h000005ea;
    localparam logic [31:0] MAX_FRAME_WMASK = 32'h0000ffff;
    typedef struct packed {
        logic [15:0] reserved_31_16;
        logic [15:0] bytes;
    } max_frame_reg_t;

    // Receive steering.
    localparam logic [15:0] RX_STEERING = 16'h001c;
    localparam logic [31:0] RX_STEERING_RESET = 32'h00000000;
    localparam logic [31:0] RX_STEERING_WMASK = 32'h000000ff;
    typedef struct packed {
        logic [23:0] reserved_31_8;
        logic [7:0] default_queue;
    } rx_steering_reg_t;

    // RSS: which frames are hashed, and so steered by the indirection table. An address hash is
    // taken where the one with ports is off or the frame has none (a fragment, another protocol).
    localparam logic [15:0] RSS_CTRL = 16'h0020;
    localparam logic [31:0] RSS_CTRL_RESET = 32'h00000000;
    localparam logic [31:0] RSS_CTRL_WMASK = 32'h0000003f;
    typedef struct packed {
        logic [25:0] reserved_31_6;
        logic ipv6_udp;
        logic ipv6_tcp;
        logic ipv6;
        logic ipv4_udp;
        logic ipv4_tcp;
        logic ipv4;
    } rss_ctrl_reg_t;

    // What receive does to frames.
    localparam logic [15:0] RX_OFFLOAD = 16'h0024;
    localparam logic [31:0] RX_OFFLOAD_RESET = 32'h00000000;
    localparam logic [31:0] RX_OFFLOAD_WMASK = 32'h00000003;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic header_split;
        logic vlan_strip;
    } rx_offload_reg_t;

    // Multicast hash, bits 31:0. A group address is accepted if bit n is set, n being the upper 6
    // bits of its Ethernet CRC-32, as in the order the FCS is sent (CRC register bits 31:26 before
    // complement, Linux ether_crc(6, addr) >> 26).
    localparam logic [15:0] MULTICAST_HASH_LO = 16'h0028;
    localparam logic [31:0] MULTICAST_HASH_LO_RESET = 32'h00000000;
    localparam logic [31:0] MULTICAST_HASH_LO_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } multicast_hash_lo_reg_t;

    // Multicast hash, bits 63:32.
    localparam logic [15:0] MULTICAST_HASH_HI = 16'h002c;
    localparam logic [31:0] MULTICAST_HASH_HI_RESET = 32'h00000000;
    localparam logic [31:0] MULTICAST_HASH_HI_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } multicast_hash_hi_reg_t;

    // Pause frames (IEEE 802.3 annex 31B).
    localparam logic [15:0] PAUSE = 16'h0030;
    localparam logic [31:0] PAUSE_RESET = 32'hffff0000;
    localparam logic [31:0] PAUSE_WMASK = 32'hffff0003;
    typedef struct packed {
        logic [15:0] quanta;
        logic [13:0] reserved_15_2;
        logic tx_enable;
        logic rx_enable;
    } pause_reg_t;

    // Fill of the receive buffer that sends pause frames, in units of 64 bytes.
    localparam logic [15:0] PAUSE_THRESHOLD = 16'h0034;
    localparam logic [31:0] PAUSE_THRESHOLD_RESET = 32'h0000ffff;
    localparam logic [31:0] PAUSE_THRESHOLD_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [15:0] xon;
        logic [15:0] xoff;
    } pause_threshold_reg_t;

    // Events of the device: they raise the interrupt line behind those of the queues while they are
    // not masked. Write 1 clears.
    localparam logic [15:0] EVENT_STATUS = 16'h0038;
    localparam logic [31:0] EVENT_STATUS_RESET = 32'h00000000;
    localparam logic [31:0] EVENT_STATUS_WMASK = 32'h00000003;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic ring_error;
        logic link_change;
    } event_status_reg_t;

    // Mask of the events: 1 keeps an event from the line. What happens meanwhile is remembered.
    localparam logic [15:0] EVENT_MASK = 16'h003c;
    localparam logic [31:0] EVENT_MASK_RESET = 32'h00000003;
    localparam logic [31:0] EVENT_MASK_WMASK = 32'h00000003;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic ring_error;
        logic link_change;
    } event_mask_reg_t;

    // Error vector: the rings that have stopped by an error and are not yet disabled, a bit a
    // queue.
    localparam logic [15:0] EVENT_RINGS = 16'h0040;
    typedef struct packed {
        logic [15:0] tx;
        logic [15:0] rx;
    } event_rings_reg_t;

    // Clock, ns, bits 31:0. Reading latches the high word; a write waits for that of the high word.
    localparam logic [15:0] CLOCK_LO = 16'h0044;
    localparam logic [31:0] CLOCK_LO_RESET = 32'h00000000;
    localparam logic [31:0] CLOCK_LO_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } clock_lo_reg_t;

    // Clock, ns, bits 63:32: reads as latched; writing sets the clock, with the low word written
    // before and no fraction.
    localparam logic [15:0] CLOCK_HI = 16'h0048;
    localparam logic [31:0] CLOCK_HI_RESET = 32'h00000000;
    localparam logic [31:0] CLOCK_HI_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } clock_hi_reg_t;

    // What the clock gains each cycle.
    localparam logic [15:0] CLOCK_INCREMENT = 16'h004c;
    localparam logic [31:0] CLOCK_INCREMENT_RESET = 32'h06666666;
    localparam logic [31:0] CLOCK_INCREMENT_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } clock_increment_reg_t;

    // Writing shifts the clock once.
    localparam logic [15:0] CLOCK_ADJUST = 16'h0050;
    localparam logic [31:0] CLOCK_ADJUST_RESET = 32'h00000000;
    localparam logic [31:0] CLOCK_ADJUST_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } clock_adjust_reg_t;

    // RSS key, 40 bytes: byte 0 in bits 7:0 of the first word.
    localparam logic [15:0] RSS_KEY = 16'h0200;
    localparam int RSS_KEY_COUNT = 10;
    localparam int RSS_KEY_STRIDE = 4;
    localparam logic [31:0] RSS_KEY_RESET = 32'h00000000;
    localparam logic [31:0] RSS_KEY_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } rss_key_reg_t;

    // RSS indirection table, 128 entries, four a word: the hash's low 7 bits choose the entry. An
    // entry that names no queue means the last one.
    localparam logic [15:0] RSS_TABLE = 16'h0280;
    localparam int RSS_TABLE_COUNT = 32;
    localparam int RSS_TABLE_STRIDE = 4;
    localparam logic [31:0] RSS_TABLE_RESET = 32'h00000000;
    localparam logic [31:0] RSS_TABLE_WMASK = 32'h0f0f0f0f;
    typedef struct packed {
        logic [3:0] reserved_31_28;
        logic [3:0] entry3;
        logic [3:0] reserved_23_20;
        logic [3:0] entry2;
        logic [3:0] reserved_15_12;
        logic [3:0] entry1;
        logic [3:0] reserved_7_4;
        logic [3:0] entry0;
    } rss_table_reg_t;

    // Further unicast or group address that is accepted: bytes 0 to 3, as in `mac_lo`.
    localparam logic [15:0] MAC_FILTER_LO = 16'h0300;
    localparam int MAC_FILTER_LO_COUNT = 8;
    localparam int MAC_FILTER_LO_STRIDE = 4;
    localparam logic [31:0] MAC_FILTER_LO_RESET = 32'h00000000;
    localparam logic [31:0] MAC_FILTER_LO_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } mac_filter_lo_reg_t;

    // Its bytes 4 and 5, and whether it is in use.
    localparam logic [15:0] MAC_FILTER_HI = 16'h0320;
    localparam int MAC_FILTER_HI_COUNT = 8;
    localparam int MAC_FILTER_HI_STRIDE = 4;
    localparam logic [31:0] MAC_FILTER_HI_RESET = 32'h00000000;
    localparam logic [31:0] MAC_FILTER_HI_WMASK = 32'h8000ffff;
    typedef struct packed {
        logic valid;
        logic [14:0] reserved_30_16;
        logic [15:0] value;
    } mac_filter_hi_reg_t;

    // Counters, 64 bits each: index in their array.
    localparam logic [15:0] COUNTER_BASE = 16'h0100;
    localparam int COUNTERS = 14;
    // Good frames that entered the receive buffer.
    localparam int CNT_RX_FRAMES = 0;
    // Their bytes, without FCS.
    localparam int CNT_RX_BYTES = 1;
    // Frames dropped: wrong FCS.
    localparam int CNT_RX_BAD_FCS = 2;
    // Frames dropped: shorter than 64 bytes with FCS.
    localparam int CNT_RX_RUNT = 3;
    // Frames dropped: longer than MAX_FRAME.
    localparam int CNT_RX_OVERSIZE = 4;
    // Frames dropped: XGMII error character or broken framing inside the frame.
    localparam int CNT_RX_CODED_ERROR = 5;
    // Frames dropped: receive buffer full.
    localparam int CNT_RX_OVERFLOW = 6;
    // Frames dropped: destination address not ours.
    localparam int CNT_RX_FILTERED = 7;
    // Frames sent on the wire.
    localparam int CNT_TX_FRAMES = 8;
    // Their bytes, with padding, without FCS.
    localparam int CNT_TX_BYTES = 9;
    // Frames cut on the wire with an error character: data came too late. Stays 0 with the store-
    // and-forward buffer.
    localparam int CNT_TX_UNDERRUN = 10;
    // Register writes refused: a doorbell beyond the ring or to a disabled queue, or an access to
    // no register.
    localparam int CNT_DOORBELL_ERRORS = 11;
    // Pause frames received; they are not among the other counts.
    localparam int CNT_RX_PAUSE = 12;
    // Pause frames sent, XOFF and XON; they are not in `tx_frames`.
    localparam int CNT_TX_PAUSE = 13;

    // Queue blocks: one a queue pair; offsets within a block are 8 bits wide.
    localparam logic [15:0] QUEUE_BASE = 16'h1000;
    localparam int QUEUE_STRIDE = 256;
    localparam int MAX_QUEUES = 16;
    localparam logic [7:0] Q_RX = 8'h00;
    localparam logic [7:0] Q_TX = 8'h40;

    // Interrupt mask.
    localparam logic [7:0] Q_IRQ_MASK = 8'h80;
    localparam logic [31:0] Q_IRQ_MASK_RESET = 32'h00000001;
    localparam logic [31:0] Q_IRQ_MASK_WMASK = 32'h00000003;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic auto_mask;
        logic mask;
    } q_irq_mask_reg_t;

    // Re-arm: acknowledges the line and carries what the driver has consumed. If more is there, the
    // line rises again.
    localparam logic [7:0] Q_IRQ_ARM = 8'h84;
    localparam logic [31:0] Q_IRQ_ARM_RESET = 32'h00000000;
    localparam logic [31:0] Q_IRQ_ARM_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [15:0] tx_consumer;
        logic [15:0] rx_consumer;
    } q_irq_arm_reg_t;

    // Interrupt moderation: the line rises when either limit is met.
    localparam logic [7:0] Q_IRQ_MODERATION = 8'h88;
    localparam logic [31:0] Q_IRQ_MODERATION_RESET = 32'h00000000;
    localparam logic [31:0] Q_IRQ_MODERATION_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [15:0] count;
        logic [15:0] cycles;
    } q_irq_moderation_reg_t;

    // State of the interrupt.
    localparam logic [7:0] Q_IRQ_STATUS = 8'h8c;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic fired;
        logic armed;
    } q_irq_status_reg_t;

    // Counters, 64 bits each: index in their array.
    localparam logic [7:0] Q_COUNTER_BASE = 8'hc0;
    localparam int Q_COUNTERS = 8;
    // Frames dropped because the ring held no descriptor.
    localparam int Q_CNT_RX_NO_DESCRIPTOR = 0;
    // Frames dropped because the queue was not enabled.
    localparam int Q_CNT_RX_DISABLED = 1;
    // Frames dropped because of a bus error on data, descriptor or completion.
    localparam int Q_CNT_RX_BUS_ERROR = 2;
    // Frames dropped because the buffer was too short (or had length 0).
    localparam int Q_CNT_RX_TRUNCATED = 3;
    // Frames delivered with status OK.
    localparam int Q_CNT_RX_FRAMES = 4;
    // Frames dropped because of a bus error on data, descriptor or completion.
    localparam int Q_CNT_TX_BUS_ERROR = 5;
    // Frames refused for their length.
    localparam int Q_CNT_TX_BAD_LENGTH = 6;
    // Frames handed to the MAC.
    localparam int Q_CNT_TX_FRAMES = 7;

    // Ring blocks (Q_RX, Q_TX): offsets within a block are 6 bits wide.

    // Enable. Setting it starts the queue, once it is no longer active, with all indices at 0;
    // clearing it lets the frames under way finish. After an error it has to be cleared before it
    // is set again.
    localparam logic [5:0] RING_CTRL = 6'h00;
    localparam logic [31:0] RING_CTRL_RESET = 32'h00000000;
    localparam logic [31:0] RING_CTRL_WMASK = 32'h00000003;
    typedef struct packed {
        logic [29:0] reserved_31_2;
        logic run_on;
        logic enable;
    } ring_ctrl_reg_t;

    // State of the queue.
    localparam logic [5:0] RING_STATUS = 6'h04;
    typedef struct packed {
        logic [23:0] reserved_31_8;
        logic [3:0] error;
        logic [2:0] reserved_3_1;
        logic active;
    } ring_status_reg_t;

    // Length of both rings.
    localparam logic [5:0] RING_SIZE = 6'h08;
    localparam logic [31:0] RING_SIZE_RESET = 32'h00000000;
    localparam logic [31:0] RING_SIZE_WMASK = 32'h0000000f;
    typedef struct packed {
        logic [27:0] reserved_31_4;
        logic [3:0] log2_entries;
    } ring_size_reg_t;

    // Doorbell: producer index of the descriptor ring, free-running modulo 2^16. It may neither go
    // back nor run further ahead of the descriptors taken than the ring is long.
    localparam logic [5:0] RING_DOORBELL = 6'h0c;
    localparam logic [31:0] RING_DOORBELL_RESET = 32'h00000000;
    localparam logic [31:0] RING_DOORBELL_WMASK = 32'h0000ffff;
    typedef struct packed {
        logic [15:0] reserved_31_16;
        logic [15:0] producer;
    } ring_doorbell_reg_t;

    localparam logic [5:0] RING_DESC_BASE_LO = 6'h10;
    localparam logic [31:0] RING_DESC_BASE_LO_RESET = 32'h00000000;
    localparam logic [31:0] RING_DESC_BASE_LO_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } ring_desc_base_lo_reg_t;

    localparam logic [5:0] RING_DESC_BASE_HI = 6'h14;
    localparam logic [31:0] RING_DESC_BASE_HI_RESET = 32'h00000000;
    localparam logic [31:0] RING_DESC_BASE_HI_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } ring_desc_base_hi_reg_t;

    localparam logic [5:0] RING_CPL_BASE_LO = 6'h18;
    localparam logic [31:0] RING_CPL_BASE_LO_RESET = 32'h00000000;
    localparam logic [31:0] RING_CPL_BASE_LO_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } ring_cpl_base_lo_reg_t;

    localparam logic [5:0] RING_CPL_BASE_HI = 6'h1c;
    localparam logic [31:0] RING_CPL_BASE_HI_RESET = 32'h00000000;
    localparam logic [31:0] RING_CPL_BASE_HI_WMASK = 32'hffffffff;
    typedef struct packed {
        logic [31:0] value;
    } ring_cpl_base_hi_reg_t;

    // Progress of the device, free-running modulo 2^16.
    localparam logic [5:0] RING_PROGRESS = 6'h20;
    typedef struct packed {
        logic [15:0] completed;
        logic [15:0] fetched;
    } ring_progress_reg_t;

    // Ring entries in host memory, little endian.
    typedef struct packed {
        logic [47:0] reserved_127_80;
        logic [15:0] len;
        logic [63:0] addr;
    } rx_desc_t;
    typedef struct packed {
        logic [1:0] reserved_127_126;
        logic [13:0] mss;
        logic [15:0] vlan_tci;
        logic [0:0] reserved_95_95;
        logic [3:0] csum_offset;
        logic [6:0] csum_start;
        logic segment;
        logic vlan_insert;
        logic timestamp;
        logic last;
        logic [15:0] len;
        logic [63:0] addr;
    } tx_desc_t;
    typedef struct packed {
        logic phase;
        logic [30:0] timestamp;
        logic [15:0] vlan_tci;
        logic [31:0] hash;
        logic header;
        hash_type_e hash_type;
        logic l4_csum_bad;
        logic l4_csum_ok;
        logic ip_csum_ok;
        logic vlan_stripped;
        logic last;
        logic [3:0] queue_id;
        cpl_status_e status;
        logic [15:0] len;
        logic [15:0] index;
    } rx_cpl_t;
    typedef struct packed {
        logic phase;
        logic [30:0] timestamp;
        logic [54:0] reserved_95_41;
        logic timestamp_valid;
        logic [3:0] queue_id;
        cpl_status_e status;
        logic [15:0] len;
        logic [15:0] index;
    } tx_cpl_t;

    // A register after a write: `mask` has a bit for each bit that is written.
    function automatic logic [31:0] reg_merge(input logic [31:0] old, input logic [31:0] data,
                                              input logic [31:0] mask);
        reg_merge = (old & ~mask) | (data & mask);
    endfunction

endpackage
// verilator lint_on UNUSEDPARAM

`default_nettype wire
