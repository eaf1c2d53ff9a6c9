"""Generated from hdl/nic.rdl by `wire2app regs`: do not edit.

Register offsets (bytes), field masks and shifts, counters, ring entry layouts.
`Q_...` is relative to `queue_block(n)`, `RING_...` to that plus `Q_RX` or `Q_TX`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple


class CplStatus(IntEnum):
    # The frame was transferred.
    OK = 0
    # SLVERR on the frame's data.
    DATA_SLVERR = 1
    # DECERR on the frame's data.
    DATA_DECERR = 2
    # SLVERR on the descriptor fetch; no data was touched.
    DESC_SLVERR = 3
    # DECERR on the descriptor fetch; no data was touched.
    DESC_DECERR = 4
    # TX: a length or position in the descriptors that rings.md rules out. RX: buffer length 0.
    BAD_LENGTH = 5
    # RX: the frame was longer than the buffers that were posted; the head of it was written.
    TRUNCATED = 6


class HashType(IntEnum):
    # No hash was taken.
    NONE = 0
    # Source and destination IP address.
    ADDRESSES = 1
    # The addresses, source and destination port of TCP.
    TCP = 2
    # The addresses, source and destination port of UDP.
    UDP = 3


class QueueError(IntEnum):
    # No error.
    NONE = 0
    # SLVERR on a completion write: the queue has stopped.
    CPL_SLVERR = 1
    # DECERR on a completion write: the queue has stopped.
    CPL_DECERR = 2
    # The producer index ran further ahead than the ring is long: the queue has stopped.
    BAD_DOORBELL = 3
    # SLVERR on a descriptor fetch: the queue has stopped. TX: always, for what follows cannot be
    # told.
    DESC_SLVERR = 4
    # DECERR on a descriptor fetch: the queue has stopped.
    DESC_DECERR = 5
    # SLVERR on a frame's data, as a completion says of which: the queue has stopped.
    DATA_SLVERR = 6
    # DECERR on a frame's data: the queue has stopped.
    DATA_DECERR = 7


class Counter(NamedTuple):
    """A 64-bit counter: low word at `offset`, high word, latched by it, four above."""

    name: str
    offset: int
    desc: str


# Device registers.
# Identity.
ID: Final = 0x000
ID_MAGIC_RESET: Final = 0x57324131
# What this instance was built with.
FEATURES: Final = 0x004
FEATURES_QUEUES: Final = 0xFF
FEATURES_QUEUES_SHIFT: Final = 0
FEATURES_AXI_BYTES: Final = 0xFF00
FEATURES_AXI_BYTES_SHIFT: Final = 8
FEATURES_TX_CHECKSUM: Final = 0x10000
FEATURES_TX_SEGMENT: Final = 0x20000
FEATURES_TX_VLAN: Final = 0x40000
FEATURES_TX_TIMESTAMP: Final = 0x80000
FEATURES_RX_OFFLOAD: Final = 0x1000000
FEATURES_RX_FILTERS: Final = 0x2000000
FEATURES_PAUSE: Final = 0x4000000
FEATURES_CLOCK: Final = 0x8000000
# Device control.
CTRL: Final = 0x008
CTRL_RX_ENABLE: Final = 0x1
CTRL_TX_ENABLE: Final = 0x2
CTRL_PROMISCUOUS: Final = 0x4
CTRL_ALL_MULTICAST: Final = 0x8
CTRL_SOFT_RESET: Final = 0x80000000
# Device state.
STATUS: Final = 0x00C
STATUS_LINK_UP: Final = 0x1
STATUS_IDLE: Final = 0x2
# Own unicast address, first four bytes on the wire, the first in bits 7:0.
MAC_LO: Final = 0x010
# Own unicast address, the last two bytes, byte 4 in bits 7:0.
MAC_HI: Final = 0x014
MAC_HI_VALUE: Final = 0xFFFF
MAC_HI_VALUE_SHIFT: Final = 0
# Longest frame accepted and sent, without FCS.
MAX_FRAME: Final = 0x018
MAX_FRAME_BYTES: Final = 0xFFFF
MAX_FRAME_BYTES_SHIFT: Final = 0
MAX_FRAME_BYTES_RESET: Final = 0x5EA
# Receive steering.
RX_STEERING: Final = 0x01C
RX_STEERING_DEFAULT_QUEUE: Final = 0xFF
RX_STEERING_DEFAULT_QUEUE_SHIFT: Final = 0
# RSS: which frames are hashed, and so steered by the indirection table. An address hash is taken
# where the one with ports is off or the frame has none (a fragment, another protocol).
RSS_CTRL: Final = 0x020
RSS_CTRL_IPV4: Final = 0x1
RSS_CTRL_IPV4_TCP: Final = 0x2
RSS_CTRL_IPV4_UDP: Final = 0x4
RSS_CTRL_IPV6: Final = 0x8
RSS_CTRL_IPV6_TCP: Final = 0x10
RSS_CTRL_IPV6_UDP: Final = 0x20
# What receive does to frames.
RX_OFFLOAD: Final = 0x024
RX_OFFLOAD_VLAN_STRIP: Final = 0x1
RX_OFFLOAD_HEADER_SPLIT: Final = 0x2
# Multicast hash, bits 31:0. A group address is accepted if bit n is set, n being the upper 6 bits
# of its Ethernet CRC-32, as in the order the FCS is sent (CRC register bits 31:26 before
# complement, Linux ether_crc(6, addr) >> 26).
MULTICAST_HASH_LO: Final = 0x028
# Multicast hash, bits 63:32.
MULTICAST_HASH_HI: Final = 0x02C
# Pause frames (IEEE 802.3 annex 31B).
PAUSE: Final = 0x030
PAUSE_RX_ENABLE: Final = 0x1
PAUSE_TX_ENABLE: Final = 0x2
PAUSE_QUANTA: Final = 0xFFFF0000
PAUSE_QUANTA_SHIFT: Final = 16
PAUSE_QUANTA_RESET: Final = 0xFFFF
# Fill of the receive buffer that sends pause frames, in units of 64 bytes.
PAUSE_THRESHOLD: Final = 0x034
PAUSE_THRESHOLD_XOFF: Final = 0xFFFF
PAUSE_THRESHOLD_XOFF_SHIFT: Final = 0
PAUSE_THRESHOLD_XOFF_RESET: Final = 0xFFFF
PAUSE_THRESHOLD_XON: Final = 0xFFFF0000
PAUSE_THRESHOLD_XON_SHIFT: Final = 16
# Events of the device: they raise the interrupt line behind those of the queues while they are not
# masked. Write 1 clears.
EVENT_STATUS: Final = 0x038
EVENT_STATUS_LINK_CHANGE: Final = 0x1
EVENT_STATUS_RING_ERROR: Final = 0x2
# Mask of the events: 1 keeps an event from the line. What happens meanwhile is remembered.
EVENT_MASK: Final = 0x03C
EVENT_MASK_LINK_CHANGE: Final = 0x1
EVENT_MASK_LINK_CHANGE_RESET: Final = 0x1
EVENT_MASK_RING_ERROR: Final = 0x2
EVENT_MASK_RING_ERROR_RESET: Final = 0x1
# Error vector: the rings that have stopped by an error and are not yet disabled, a bit a queue.
EVENT_RINGS: Final = 0x040
EVENT_RINGS_RX: Final = 0xFFFF
EVENT_RINGS_RX_SHIFT: Final = 0
EVENT_RINGS_TX: Final = 0xFFFF0000
EVENT_RINGS_TX_SHIFT: Final = 16
# Clock, ns, bits 31:0. Reading latches the high word; a write waits for that of the high word.
CLOCK_LO: Final = 0x044
# Clock, ns, bits 63:32: reads as latched; writing sets the clock, with the low word written before
# and no fraction.
CLOCK_HI: Final = 0x048
# What the clock gains each cycle.
CLOCK_INCREMENT: Final = 0x04C
CLOCK_INCREMENT_VALUE_RESET: Final = 0x6666666
# Writing shifts the clock once.
CLOCK_ADJUST: Final = 0x050
# RSS key, 40 bytes: byte 0 in bits 7:0 of the first word.
RSS_KEY: Final = 0x200
RSS_KEY_COUNT: Final = 10
RSS_KEY_STRIDE: Final = 4
# RSS indirection table, 128 entries, four a word: the hash's low 7 bits choose the entry. An entry
# that names no queue means the last one.
RSS_TABLE: Final = 0x280
RSS_TABLE_COUNT: Final = 32
RSS_TABLE_STRIDE: Final = 4
RSS_TABLE_ENTRY0: Final = 0xF
RSS_TABLE_ENTRY0_SHIFT: Final = 0
RSS_TABLE_ENTRY1: Final = 0xF00
RSS_TABLE_ENTRY1_SHIFT: Final = 8
RSS_TABLE_ENTRY2: Final = 0xF0000
RSS_TABLE_ENTRY2_SHIFT: Final = 16
RSS_TABLE_ENTRY3: Final = 0xF000000
RSS_TABLE_ENTRY3_SHIFT: Final = 24
# Further unicast or group address that is accepted: bytes 0 to 3, as in `mac_lo`.
MAC_FILTER_LO: Final = 0x300
MAC_FILTER_LO_COUNT: Final = 8
MAC_FILTER_LO_STRIDE: Final = 4
# Its bytes 4 and 5, and whether it is in use.
MAC_FILTER_HI: Final = 0x320
MAC_FILTER_HI_COUNT: Final = 8
MAC_FILTER_HI_STRIDE: Final = 4
MAC_FILTER_HI_VALUE: Final = 0xFFFF
MAC_FILTER_HI_VALUE_SHIFT: Final = 0
MAC_FILTER_HI_VALID: Final = 0x80000000

COUNTERS: Final[tuple[Counter, ...]] = (
    Counter(
        "rx_frames",
        0x100,
        "Good frames that entered the receive buffer.",
    ),
    Counter(
        "rx_bytes",
        0x108,
        "Their bytes, without FCS.",
    ),
    Counter(
        "rx_bad_fcs",
        0x110,
        "Frames dropped: wrong FCS.",
    ),
    Counter(
        "rx_runt",
        0x118,
        "Frames dropped: shorter than 64 bytes with FCS.",
    ),
    Counter(
        "rx_oversize",
        0x120,
        "Frames dropped: longer than MAX_FRAME.",
    ),
    Counter(
        "rx_coded_error",
        0x128,
        "Frames dropped: XGMII error character or broken framing inside the frame.",
    ),
    Counter(
        "rx_overflow",
        0x130,
        "Frames dropped: receive buffer full.",
    ),
    Counter(
        "rx_filtered",
        0x138,
        "Frames dropped: destination address not ours.",
    ),
    Counter(
        "tx_frames",
        0x140,
        "Frames sent on the wire.",
    ),
    Counter(
        "tx_bytes",
        0x148,
        "Their bytes, with padding, without FCS.",
    ),
    Counter(
        "tx_underrun",
        0x150,
        "Frames cut on the wire with an error character: data came too late. Stays 0 with"
        " the store-and-forward buffer.",
    ),
    Counter(
        "doorbell_errors",
        0x158,
        "Register writes refused: a doorbell beyond the ring or to a disabled queue, or "
        "an access to no register.",
    ),
    Counter(
        "rx_pause",
        0x160,
        "Pause frames received; they are not among the other counts.",
    ),
    Counter(
        "tx_pause",
        0x168,
        "Pause frames sent, XOFF and XON; they are not in `tx_frames`.",
    ),
)

# Queue blocks.
QUEUE_BASE: Final = 0x1000
QUEUE_STRIDE: Final = 0x100
MAX_QUEUES: Final = 16
Q_RX: Final = 0x00
Q_TX: Final = 0x40
# Enable. Setting it starts the queue, once it is no longer active, with all indices at 0; clearing
# it lets the frames under way finish. After an error it has to be cleared before it is set again.
Q_RX_CTRL: Final = 0x000
# State of the queue.
Q_RX_STATUS: Final = 0x004
# Length of both rings.
Q_RX_SIZE: Final = 0x008
# Doorbell: producer index of the descriptor ring, free-running modulo 2^16. It may neither go back
# nor run further ahead of the descriptors taken than the ring is long.
Q_RX_DOORBELL: Final = 0x00C
Q_RX_DESC_BASE_LO: Final = 0x010
Q_RX_DESC_BASE_HI: Final = 0x014
Q_RX_CPL_BASE_LO: Final = 0x018
Q_RX_CPL_BASE_HI: Final = 0x01C
# Progress of the device, free-running modulo 2^16.
Q_RX_PROGRESS: Final = 0x020
# Enable. Setting it starts the queue, once it is no longer active, with all indices at 0; clearing
# it lets the frames under way finish. After an error it has to be cleared before it is set again.
Q_TX_CTRL: Final = 0x040
# State of the queue.
Q_TX_STATUS: Final = 0x044
# Length of both rings.
Q_TX_SIZE: Final = 0x048
# Doorbell: producer index of the descriptor ring, free-running modulo 2^16. It may neither go back
# nor run further ahead of the descriptors taken than the ring is long.
Q_TX_DOORBELL: Final = 0x04C
Q_TX_DESC_BASE_LO: Final = 0x050
Q_TX_DESC_BASE_HI: Final = 0x054
Q_TX_CPL_BASE_LO: Final = 0x058
Q_TX_CPL_BASE_HI: Final = 0x05C
# Progress of the device, free-running modulo 2^16.
Q_TX_PROGRESS: Final = 0x060
# Interrupt mask.
Q_IRQ_MASK: Final = 0x080
Q_IRQ_MASK_MASK: Final = 0x1
Q_IRQ_MASK_MASK_RESET: Final = 0x1
Q_IRQ_MASK_AUTO_MASK: Final = 0x2
# Re-arm: acknowledges the line and carries what the driver has consumed. If more is there, the line
# rises again.
Q_IRQ_ARM: Final = 0x084
Q_IRQ_ARM_RX_CONSUMER: Final = 0xFFFF
Q_IRQ_ARM_RX_CONSUMER_SHIFT: Final = 0
Q_IRQ_ARM_TX_CONSUMER: Final = 0xFFFF0000
Q_IRQ_ARM_TX_CONSUMER_SHIFT: Final = 16
# Interrupt moderation: the line rises when either limit is met.
Q_IRQ_MODERATION: Final = 0x088
Q_IRQ_MODERATION_CYCLES: Final = 0xFFFF
Q_IRQ_MODERATION_CYCLES_SHIFT: Final = 0
Q_IRQ_MODERATION_COUNT: Final = 0xFFFF0000
Q_IRQ_MODERATION_COUNT_SHIFT: Final = 16
# State of the interrupt.
Q_IRQ_STATUS: Final = 0x08C
Q_IRQ_STATUS_ARMED: Final = 0x1
Q_IRQ_STATUS_FIRED: Final = 0x2

QUEUE_COUNTERS: Final[tuple[Counter, ...]] = (
    Counter(
        "rx_no_descriptor",
        0x0C0,
        "Frames dropped because the ring held no descriptor.",
    ),
    Counter(
        "rx_disabled",
        0x0C8,
        "Frames dropped because the queue was not enabled.",
    ),
    Counter(
        "rx_bus_error",
        0x0D0,
        "Frames dropped because of a bus error on data, descriptor or completion.",
    ),
    Counter(
        "rx_truncated",
        0x0D8,
        "Frames dropped because the buffer was too short (or had length 0).",
    ),
    Counter(
        "rx_frames",
        0x0E0,
        "Frames delivered with status OK.",
    ),
    Counter(
        "tx_bus_error",
        0x0E8,
        "Frames dropped because of a bus error on data, descriptor or completion.",
    ),
    Counter(
        "tx_bad_length",
        0x0F0,
        "Frames refused for their length.",
    ),
    Counter(
        "tx_frames",
        0x0F8,
        "Frames handed to the MAC.",
    ),
)

# Ring blocks: the fields are the same in both.
# Enable. Setting it starts the queue, once it is no longer active, with all indices at 0; clearing
# it lets the frames under way finish. After an error it has to be cleared before it is set again.
RING_CTRL: Final = 0x000
RING_CTRL_ENABLE: Final = 0x1
RING_CTRL_RUN_ON: Final = 0x2
# State of the queue.
RING_STATUS: Final = 0x004
RING_STATUS_ACTIVE: Final = 0x1
RING_STATUS_ERROR: Final = 0xF0
RING_STATUS_ERROR_SHIFT: Final = 4
# Length of both rings.
RING_SIZE: Final = 0x008
RING_SIZE_LOG2_ENTRIES: Final = 0xF
RING_SIZE_LOG2_ENTRIES_SHIFT: Final = 0
# Doorbell: producer index of the descriptor ring, free-running modulo 2^16. It may neither go back
# nor run further ahead of the descriptors taken than the ring is long.
RING_DOORBELL: Final = 0x00C
RING_DOORBELL_PRODUCER: Final = 0xFFFF
RING_DOORBELL_PRODUCER_SHIFT: Final = 0
RING_DESC_BASE_LO: Final = 0x010
RING_DESC_BASE_HI: Final = 0x014
RING_CPL_BASE_LO: Final = 0x018
RING_CPL_BASE_HI: Final = 0x01C
# Progress of the device, free-running modulo 2^16.
RING_PROGRESS: Final = 0x020
RING_PROGRESS_FETCHED: Final = 0xFFFF
RING_PROGRESS_FETCHED_SHIFT: Final = 0
RING_PROGRESS_COMPLETED: Final = 0xFFFF0000
RING_PROGRESS_COMPLETED_SHIFT: Final = 16


def queue_block(queue: int) -> int:
    """Offset of the registers of queue pair `queue`; ValueError beyond the map."""
    if not 0 <= queue < MAX_QUEUES:
        raise ValueError(f"queue {queue} is not in 0..{MAX_QUEUES - 1}")
    return QUEUE_BASE + queue * QUEUE_STRIDE


# Ring entries in host memory.
# RX descriptor: one free buffer.
# Values: addr, len.
RX_DESC: Final = struct.Struct("<QHxxxxxx")
# TX descriptor: one fragment of a frame. All but address, length and `last` is read from the
# frame's first descriptor.
# Values: addr, len, last|timestamp|vlan_insert|segment|csum_start|csum_offset, vlan_tci, mss.
TX_DESC: Final = struct.Struct("<QHHHH")
TX_DESC_LAST: Final = 0x01
TX_DESC_TIMESTAMP: Final = 0x02
TX_DESC_VLAN_INSERT: Final = 0x04
TX_DESC_SEGMENT: Final = 0x08
TX_DESC_CSUM_START: Final = 0x7F0
TX_DESC_CSUM_START_SHIFT: Final = 4
TX_DESC_CSUM_OFFSET: Final = 0x7800
TX_DESC_CSUM_OFFSET_SHIFT: Final = 11
TX_DESC_MSS: Final = 0x3FFF
TX_DESC_MSS_SHIFT: Final = 0
# RX completion, one a buffer. Written once, whole; valid when the phase bit differs from the
# previous lap's (1 on the first). What it says of the frame is the same in all completions of the
# frame.
# Values: index, len, status|queue_id,
# last|vlan_stripped|ip_csum_ok|l4_csum_ok|l4_csum_bad|hash_type|header, hash, vlan_tci,
# timestamp|phase.
RX_CPL: Final = struct.Struct("<HHBBIHI")
RX_CPL_STATUS: Final = 0x0F
RX_CPL_STATUS_SHIFT: Final = 0
RX_CPL_QUEUE_ID: Final = 0xF0
RX_CPL_QUEUE_ID_SHIFT: Final = 4
RX_CPL_LAST: Final = 0x01
RX_CPL_VLAN_STRIPPED: Final = 0x02
RX_CPL_IP_CSUM_OK: Final = 0x04
RX_CPL_L4_CSUM_OK: Final = 0x08
RX_CPL_L4_CSUM_BAD: Final = 0x10
RX_CPL_HASH_TYPE: Final = 0x60
RX_CPL_HASH_TYPE_SHIFT: Final = 5
RX_CPL_HEADER: Final = 0x80
RX_CPL_TIMESTAMP: Final = 0x7FFFFFFF
RX_CPL_TIMESTAMP_SHIFT: Final = 0
RX_CPL_PHASE: Final = 0x80000000
# TX completion, one a descriptor. Written as the RX completion is.
# Values: index, len, status|queue_id, timestamp_valid, timestamp|phase.
TX_CPL: Final = struct.Struct("<HHBBxxxxxxI")
TX_CPL_STATUS: Final = 0x0F
TX_CPL_STATUS_SHIFT: Final = 0
TX_CPL_QUEUE_ID: Final = 0xF0
TX_CPL_QUEUE_ID_SHIFT: Final = 4
TX_CPL_TIMESTAMP_VALID: Final = 0x01
TX_CPL_TIMESTAMP: Final = 0x7FFFFFFF
TX_CPL_TIMESTAMP_SHIFT: Final = 0
TX_CPL_PHASE: Final = 0x80000000
