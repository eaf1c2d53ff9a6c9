"""What `ethtool` reads and sets of a device: the driver's side (`struct ethtool_ops`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RingParam:
    """`ethtool -g`: entries of each ring, now and at most; are headers in buffers of their own?"""

    rx_max: int
    tx_max: int
    rx: int
    tx: int
    tcp_data_split: bool = False


@dataclass(frozen=True)
class PauseParam:
    """`ethtool -a`: pause frames (IEEE 802.3 annex 31B) are obeyed, are sent."""

    rx: bool
    tx: bool


@dataclass(frozen=True)
class Channels:
    """`ethtool -l`: pairs of RX and TX queues with one interrupt."""

    max_combined: int
    combined: int


@dataclass(frozen=True)
class Coalesce:
    """`ethtool -c`: an interrupt waits for `usecs` or for `frames`, whichever comes first."""

    rx_usecs: int = 0
    rx_frames: int = 0
    adaptive_rx: bool = False


@dataclass(frozen=True)
class Rxfh:
    """`ethtool -x`: RSS key, and the queue of each entry of the indirection table."""

    key: bytes
    table: tuple[int, ...]
    queues: int


class EthtoolOps(Protocol):
    """Setting something changes it while traffic runs; OSError with Linux's errno if it cannot.

    All of it must run in a task.
    """

    def get_drvinfo(self) -> dict[str, str]:
        """`driver`, `version`, `firmware-version`, `bus-info`."""
        ...

    def set_features(self, wanted: dict[str, bool]) -> None: ...

    def get_ringparam(self) -> RingParam: ...

    def set_ringparam(self, rx: int, tx: int, tcp_data_split: bool) -> None: ...

    def get_pauseparam(self) -> PauseParam | None:
        """None: the device knows no pause frames."""
        ...

    def set_pauseparam(self, pause: PauseParam) -> None: ...

    def get_channels(self) -> Channels: ...

    def set_channels(self, combined: int) -> None: ...

    def get_coalesce(self) -> Coalesce: ...

    def set_coalesce(self, coalesce: Coalesce) -> None: ...

    def get_rxfh(self) -> Rxfh: ...

    def set_rxfh(self, table: tuple[int, ...] | None, key: bytes | None) -> None: ...
