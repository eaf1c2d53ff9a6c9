"""What one ACK did, collected while `ack`, `sacktag` and `recovery` look at it."""

from __future__ import annotations

# Bits of `AckEvent.flag` (net/ipv4/tcp_input.c; plain ints: this is the hot path)
DATA = 0x01  # the segment carried data
WIN_UPDATE = 0x02
DATA_ACKED = 0x04
RETRANS_DATA_ACKED = 0x08
SYN_ACKED = 0x10
DATA_SACKED = 0x20
ECE = 0x40  # the peer has seen a mark of congestion
LOST_RETRANS = 0x80  # a retransmission has been found lost
ORIG_SACK_ACKED = 0x200  # data that was sent once has been (S)ACKed
DSACKING_ACK = 0x800
SACK_RENEGING = 0x2000
UPDATE_TS_RECENT = 0x4000
NO_CHALLENGE_ACK = 0x8000
DSACK_TLP = 0x20000  # the tail loss probe was a duplicate
SLOWPATH = 0x100
SND_UNA_ADVANCED = 0x400
SET_XMIT_TIMER = 0x1000
ACKED = DATA_ACKED | SYN_ACKED
FORWARD_PROGRESS = ACKED | DATA_SACKED
NOT_DUP = DATA | WIN_UPDATE | ACKED
CA_ALERT = DATA_SACKED | ECE | DSACKING_ACK


class AckEvent:
    """`first_sent` and `sack_sent` are when the first segment now (S)ACKed was sent, in ns;
    `last_sent` and `last_sacked` when the last of these was.

    `resent` is when the last of those now ACKed that had to be retransmitted was.
    `delivered` counts segments that have left the network.  `prior_una` and `prior_fack` are
    SND.UNA and the end of the highest SACKed segment as they were.
    """

    __slots__ = (
        "delivered",
        "first_sent",
        "flag",
        "last_sacked",
        "last_sent",
        "prior_fack",
        "prior_una",
        "resent",
        "sack_sent",
        "tsecr",
    )

    def __init__(self, flag: int, prior_una: int, prior_fack: int) -> None:
        self.flag = flag
        self.prior_una = prior_una
        self.prior_fack = prior_fack
        self.first_sent: int | None = None
        self.last_sent: int | None = None
        self.sack_sent: int | None = None
        self.last_sacked: int | None = None
        self.resent = 0
        self.tsecr: int | None = None
        self.delivered = 0
