"""`ethtool` for the wire2app NIC: what can be asked, and changed while traffic runs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_queue import QueuePair, free_queues
from pystack.dev.ethtool import Channels, Coalesce, PauseParam, RingParam, Rxfh

if TYPE_CHECKING:
    from pystack.dev.drivers.w2a_nic import W2aNic

VERSION = "6.18.0"  # the kernel's, as drivers without one of their own say
MAX_ENTRIES = 32768
TABLE = 128
MIN_MTU, MAX_MTU = 68, 9000
KEY_BYTES = 40
FILL = 64  # bytes, the unit of `pause_threshold`
# What still comes after an XOFF: frames under way here and there, and what a peer sends until it
# reacts (60 quanta); short frames fill up to half as much again as they have on the wire.
_OVERHEAD, _REACTION = 24, 60 * 64
_ALL_HASHES = (
    *(regs.RSS_CTRL_IPV4, regs.RSS_CTRL_IPV4_TCP, regs.RSS_CTRL_IPV4_UDP),
    *(regs.RSS_CTRL_IPV6, regs.RSS_CTRL_IPV6_TCP, regs.RSS_CTRL_IPV6_UDP),
)


class W2aEthtool:
    """`pystack.dev.ethtool.EthtoolOps`"""

    def __init__(self, nic: W2aNic) -> None:
        self._nic = nic
        self.key = nic.kernel.rng.randbytes(KEY_BYTES)  # netdev_rss_key_fill
        self._table: tuple[int, ...] | None = None  # None: evenly over the queues
        self._pause = PauseParam(rx=False, tx=False)
        self._data_split = False

    def apply(self) -> None:
        """Tell the device; it has been reset, or the number of queues has changed."""
        if self._nic.device_features & regs.FEATURES_RX_OFFLOAD:
            self._write_key()
        self.steer()
        self.write_pause()

    def steer(self) -> None:
        """Which queues have the flows: those in poll mode that take them, or the kernel's."""
        if self._nic.device_features & regs.FEATURES_RX_OFFLOAD:
            self._write_table()
            self._write_features()
        else:
            self._nic.write32(regs.RX_STEERING, (0, *self._thieves)[-1])

    @property
    def _thieves(self) -> list[int]:
        """The queues in poll mode that have all flows; the one opened last is the last."""
        return [queue.index for queue in self._nic.lent.values() if queue.steals]

    # -- features --------------------------------------------------------------------------

    def get_drvinfo(self) -> dict[str, str]:
        return {
            "driver": "w2a_nic",
            "version": VERSION,
            "firmware-version": "",
            "bus-info": f"0000:{self._nic.dev.ifindex:02x}:00.0",
        }

    def set_features(self, wanted: dict[str, bool]) -> None:
        if self._nic.dev.up and self._nic.device_features & regs.FEATURES_RX_OFFLOAD:
            self._write_features()

    def _write_features(self) -> None:
        nic = self._nic
        features = nic.dev.features
        strip = features["rxvlan"] and regs.RX_OFFLOAD_VLAN_STRIP
        split = self._data_split and regs.RX_OFFLOAD_HEADER_SPLIT
        nic.write32(regs.RX_OFFLOAD, strip | split)
        hashed = features["rxhash"] or nic.tx_queues > 1 or self._thieves
        nic.write32(regs.RSS_CTRL, sum(_ALL_HASHES) if hashed else 0)

    # -- rings and channels ----------------------------------------------------------------

    def get_ringparam(self) -> RingParam:
        nic = self._nic
        return RingParam(MAX_ENTRIES, MAX_ENTRIES, nic.rx_entries, nic.tx_entries, self._data_split)

    def set_ringparam(self, rx: int, tx: int, tcp_data_split: bool) -> None:
        """The device has powers of two: the next one is taken."""
        nic = self._nic
        if not 1 < rx <= MAX_ENTRIES or not 1 < tx <= MAX_ENTRIES:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if tcp_data_split and nic.dev.up and not self._splits:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        self._resize(rx=1 << (rx - 1).bit_length(), tx=1 << (tx - 1).bit_length())
        self._data_split = tcp_data_split
        if nic.dev.up and self._splits:
            self._write_features()

    @property
    def _splits(self) -> bool:
        return bool(self._nic.device_features & regs.FEATURES_RX_OFFLOAD)

    def get_channels(self) -> Channels:
        return Channels(self._nic.max_queues, self._nic.tx_queues)

    def set_channels(self, combined: int) -> None:
        nic = self._nic
        if not 0 < combined <= nic.max_queues:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if any(queue < combined for queue in nic.lent) or (
            self._table is not None and max(self._table) >= combined
        ):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._resize(queues=combined)

    def _resize(self, rx: int = 0, tx: int = 0, queues: int = 0) -> None:
        """Other rings, of which 0 leaves a number as it is.  The new ones have their memory before
        the old ones stop (`ixgbe_set_ringparam`): OSError(ENOMEM) leaves all as it was."""
        nic = self._nic
        with nic.lock:
            now = nic.rx_entries, nic.tx_entries, nic.tx_queues
            wanted = rx or now[0], tx or now[1], queues or now[2]
            if wanted == now:
                return
            made = nic.alloc_queues(*wanted) if nic.dev.up else []

            def change() -> None:
                nic.rx_entries, nic.tx_entries, nic.tx_queues = wanted
                if made:
                    free_queues(nic.queues)
                    nic.queues = made

            self._restarted(change)

    def _restarted(self, change: Callable[[], None]) -> None:
        """Between a stop and a start of all queues; packets wait in the queueing discipline.
        `nic.lock` is held."""
        nic = self._nic
        if not nic.dev.up:
            change()
            return
        for queue in nic.dev.tx_queues:
            queue.stopped = True
        nic.write32(regs.CTRL, regs.CTRL_TX_ENABLE)
        nic.stop_queues()
        change()
        nic.start_queues()
        nic.set_rx_mode()
        for queue in nic.dev.tx_queues:
            nic.core.wake_queue(nic.dev, queue.index)

    def change_mtu(self, mtu: int) -> None:
        """Other buffers for other frames (`ndo_change_mtu`)."""
        nic = self._nic
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        def change() -> None:
            nic.dev.mtu = mtu
            nic.write32(regs.MAX_FRAME, nic.max_frame)

        with nic.lock:
            self._restarted(change)

    # -- pause frames ----------------------------------------------------------------------

    def get_pauseparam(self) -> PauseParam | None:
        return self._pause if self._nic.device_features & regs.FEATURES_PAUSE else None

    def set_pauseparam(self, pause: PauseParam) -> None:
        with self._nic.lock:
            self._pause = pause
            if self._nic.dev.up:
                self.write_pause()

    def write_pause(self) -> None:
        """XOFF leaves room in the receive buffer for what comes until it works, as far as the
        buffer has it: it holds two of the longest frames that the device takes."""
        nic, pause = self._nic, self._pause
        if not nic.device_features & regs.FEATURES_PAUSE:
            return
        size = 1 << (2 * nic.longest_frame - 1).bit_length()
        frame = nic.max_frame + _OVERHEAD
        xoff = max(size - frame - (frame + _REACTION) * 3 // 2, size // 4) // FILL
        threshold = xoff | xoff // 2 << regs.PAUSE_THRESHOLD_XON_SHIFT
        nic.write32(regs.PAUSE_THRESHOLD, threshold)
        enable = (pause.rx and regs.PAUSE_RX_ENABLE) | (pause.tx and regs.PAUSE_TX_ENABLE)
        nic.write32(regs.PAUSE, enable | regs.PAUSE_QUANTA)

    # -- coalescing ------------------------------------------------------------------------

    def get_coalesce(self) -> Coalesce:
        nic = self._nic
        usecs = nic.moderation_cycles // nic.cycles_per_usec
        return Coalesce(usecs, nic.moderation_count, nic.adaptive_rx)

    def set_coalesce(self, coalesce: Coalesce) -> None:
        nic = self._nic
        cycles = coalesce.rx_usecs * nic.cycles_per_usec
        if cycles > regs.Q_IRQ_MODERATION_CYCLES or coalesce.rx_frames > 0xFFFF:
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        nic.moderation_cycles, nic.moderation_count = cycles, coalesce.rx_frames
        nic.adaptive_rx = coalesce.adaptive_rx
        for queue in self._running():
            queue.set_moderation(nic.moderation_cycles, nic.moderation_count)

    def _running(self) -> list[QueuePair]:
        return [queue for queue in self._nic.queues if queue.running]

    # -- RSS -------------------------------------------------------------------------------

    def get_rxfh(self) -> Rxfh:
        return Rxfh(self.key, self.table, self._nic.tx_queues)

    @property
    def table(self) -> tuple[int, ...]:
        """Without anything set, `ethtool_rxfh_indir_default`."""
        queues = self._nic.tx_queues
        return self._table or tuple(entry % queues for entry in range(TABLE))

    def set_rxfh(self, table: tuple[int, ...] | None, key: bytes | None) -> None:
        """Of None it stays; an empty table is the default again."""
        if key is not None:
            if len(key) != KEY_BYTES:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self.key = key
        if table is not None:
            if table and (len(table) != TABLE or max(table) >= self._nic.tx_queues):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self._table = table or None
        if self._nic.dev.up:
            self._write_key()
            self._write_table()

    def _write_key(self) -> None:
        for at in range(0, KEY_BYTES, 4):
            word = int.from_bytes(self.key[at : at + 4], "little")
            self._nic.write32(regs.RSS_KEY + at, word)

    def _write_table(self) -> None:
        thieves = self._thieves
        table = [thieves[n % len(thieves)] for n in range(TABLE)] if thieves else self.table
        for at in range(0, TABLE, 4):
            word = int.from_bytes(bytes(table[at : at + 4]), "little")
            self._nic.write32(regs.RSS_TABLE + at, word)
