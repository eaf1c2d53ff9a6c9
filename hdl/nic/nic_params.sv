// What the parameters of the NIC may be.  An illegal one stops elaboration with a sentence; it holds
// no logic.  Icarus has no elaboration tasks: there it stops at time 0.

`default_nettype none

module nic_params #(
    parameter int Queues = 1,
    parameter int AxiDataW = 128,
    parameter int AxiAddrW = 64,
    parameter int AxiIdW = 4,
    parameter int RxBufferBytes = 32768,
    parameter int TxBufferBytes = 32768,
    parameter int MaxFrame = 9018,
    parameter bit TxChecksum = 1,
    parameter bit TxSegment = 1
);

`ifdef __ICARUS__
`define ILLEGAL(condition, sentence) initial if (condition) $fatal(1, sentence);
`else
// verilator lint_off GENUNNAMED
// A block that is never there needs no name.
`define ILLEGAL(condition, sentence) if (condition) $error(sentence);
`endif

    `ILLEGAL(Queues < 1 || Queues > nic_regs_pkg::MAX_QUEUES, "nic_top: Queues is not 1 to 16")
    `ILLEGAL(AxiDataW != 64 && AxiDataW != 128 && AxiDataW != 256 && AxiDataW != 512,
             "nic_top: AxiDataW is not 64, 128, 256 or 512")
    `ILLEGAL(AxiAddrW < 16 || AxiAddrW > 64, "nic_top: AxiAddrW is not 16 to 64")
    `ILLEGAL(AxiIdW < 1 || AxiIdW > 32, "nic_top: AxiIdW is not 1 to 32")
    `ILLEGAL(RxBufferBytes < 256 || RxBufferBytes > 1048576
             || (RxBufferBytes & (RxBufferBytes - 1)) != 0,
             "nic_top: RxBufferBytes is not a power of two from 256 to 1048576")
    `ILLEGAL(TxBufferBytes < 128 || TxBufferBytes > 1048576
             || (TxBufferBytes & (TxBufferBytes - 1)) != 0,
             "nic_top: TxBufferBytes is not a power of two from 128 to 1048576")
    `ILLEGAL(MaxFrame < 60 || MaxFrame > 16383 || 2 * MaxFrame > RxBufferBytes
             || 2 * MaxFrame > TxBufferBytes,
             "nic_top: MaxFrame is not 60 to 16383 and at most half of either buffer")
    `ILLEGAL(TxSegment && !TxChecksum, "nic_top: TxSegment needs TxChecksum")

// verilator lint_on GENUNNAMED
`undef ILLEGAL

endmodule

`default_nettype wire
