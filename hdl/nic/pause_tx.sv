// Sends pause frames (IEEE 802.3 annex 31B) between the frames of the transmit buffer, and holds these
// while a received pause frame says so.  When the receive buffer has filled up to one threshold it
// sends XOFF, and again when half of its time is over; when the buffer has emptied to the other, XON.
// A frame that was offered to the MAC is finished; control frames are not held.

`default_nettype none

module pause_tx (
    input  wire logic        clk,
    input  wire logic        rst,

    input  wire logic        cfg_enable,    // 0: none is sent, but the XON that is still due
    input  wire logic [15:0] cfg_quanta,
    input  wire logic [15:0] cfg_xoff,      // units of `fill`
    input  wire logic [15:0] cfg_xon,
    input  wire logic [47:0] cfg_mac,
    input  wire logic [15:0] fill,          // of the receive buffer
    input  wire logic        paused,        // no frame of the transmit buffer begins

    input  wire logic [63:0] s_axis_tdata,
    input  wire logic [7:0]  s_axis_tkeep,
    input  wire logic        s_axis_tvalid,
    output      logic        s_axis_tready,
    input  wire logic        s_axis_tlast,
    input  wire logic        s_axis_tuser,  // goes along

    output      logic [63:0] m_axis_tdata,
    output      logic [7:0]  m_axis_tkeep,
    output      logic        m_axis_tvalid,
    input  wire logic        m_axis_tready,
    output      logic        m_axis_tlast,
    output      logic        m_axis_tuser,

    output      logic        ev_sent,       // one clock a pause frame, with ev_frame of the MAC
    output      logic        busy
);

    typedef enum logic [1:0] {
        BORDER,  // waits for a frame or a reason for a pause frame
        FRAME,   // waits for the end of the frame
        CONTROL  // sends a pause frame
    } state_e;

    localparam logic [2:0] LastBeat = 3'd7;  // 60 bytes

    state_e      state_q, state_d;
    logic        off_q;       // the other side was told to stop
    logic [17:0] again_q;     // clocks until it has to be told again: half the time of an XOFF
    logic [2:0]  beat_q;
    logic [15:0] time_q;      // in the pause frame under way
    logic [1:0]  ended_q;     // the MAC's event comes three clocks after the last beat
    logic        full, full_q, drained_q, want_off, want_on, want, offer, ends, awake;

    assign full     = fill >= cfg_xoff;
    assign want_off = full_q && cfg_enable && (!off_q || again_q == '0);
    assign want_on  = off_q && (drained_q || !cfg_enable);
    assign want     = want_off || want_on;
    assign offer    = s_axis_tvalid && !want && !paused;
    assign ends     = m_axis_tvalid && m_axis_tready && m_axis_tlast;

    always_comb begin
        state_d = state_q;
        case (state_q)
            BORDER:
                if (want) state_d = CONTROL;
                else if (offer && !ends) state_d = FRAME;
            default: if (ends) state_d = BORDER;
        endcase
    end

    assign awake = cfg_enable || full_q || off_q || s_axis_tvalid || state_q != BORDER
        || ended_q != '0 || ev_sent || rst;

    always_ff @(posedge clk) begin
        if (awake) begin
            state_q   <= state_d;
            full_q    <= cfg_enable && cfg_quanta != '0 && full;
            drained_q <= fill <= cfg_xon && !full;
            ended_q   <= {ended_q[0], state_q == CONTROL && ends};
            ev_sent   <= ended_q[1];
            if (again_q != '0) again_q <= again_q - 18'd1;
            if (state_q == BORDER && want) begin
                off_q   <= want_off;
                time_q  <= want_off ? cfg_quanta : 16'd0;
                again_q <= {cfg_quanta, 2'd0};
                beat_q  <= '0;
            end
            if (state_q == CONTROL && m_axis_tready) beat_q <= beat_q + 3'd1;
            if (rst) begin
                state_q   <= BORDER;
                off_q     <= 1'b0;
                full_q    <= 1'b0;
                drained_q <= 1'b0;
                ended_q   <= '0;
                ev_sent   <= 1'b0;
                again_q   <= '0;
            end
        end
    end

    // ---- the frame: reserved address, own address, type 0x8808, opcode 1, time, zeros

    always_comb begin
        m_axis_tdata  = s_axis_tdata;
        m_axis_tkeep  = s_axis_tkeep;
        m_axis_tlast  = s_axis_tlast;
        m_axis_tuser  = s_axis_tuser;
        m_axis_tvalid = state_q == FRAME ? s_axis_tvalid : offer;
        s_axis_tready = m_axis_tready && m_axis_tvalid;
        if (state_q == CONTROL) begin
            s_axis_tready = 1'b0;
            m_axis_tuser  = 1'b0;
            m_axis_tvalid = 1'b1;
            m_axis_tlast  = beat_q == LastBeat;
            m_axis_tkeep  = beat_q == LastBeat ? 8'h0f : 8'hff;
            case (beat_q)
                3'd0:    m_axis_tdata = {cfg_mac[15:0], 48'h0100_00c2_8001};
                3'd1:    m_axis_tdata = {32'h0100_0888, cfg_mac[47:16]};
                3'd2:    m_axis_tdata = {48'd0, time_q[7:0], time_q[15:8]};
                default: m_axis_tdata = 64'd0;
            endcase
        end
    end

    assign busy = state_q != BORDER || off_q || ended_q != '0 || ev_sent;

endmodule

`default_nettype wire
