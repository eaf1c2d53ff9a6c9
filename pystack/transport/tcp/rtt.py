"""Round-trip time and the retransmission timeout (RFC 6298, with Linux's variance)."""

from __future__ import annotations

from pystack.transport.tcp.constants import RTO_MAX, RTO_MIN, TIMEOUT_INIT, USEC
from pystack.transport.tcp.seq import after

_RTO_MIN_US = RTO_MIN // USEC


class RttEstimator:
    """`srtt_us` is 8 times the smoothed RTT, `mdev_us` and `rttvar_us` 4 times, as in Linux.

    Linux's variance falls only once a window and never below what 200 ms of RTO need
    (`tcp_rtt_estimator`), so that a burst of equal samples does not make the timer hasty.
    """

    __slots__ = (
        *("mdev_max_us", "mdev_us", "min_us", "rto", "rtt_seq", "rttvar_us", "samples"),
        "srtt_us",
    )

    def __init__(self) -> None:
        self.srtt_us = 0
        self.mdev_us = TIMEOUT_INIT // USEC
        self.mdev_max_us = 0
        self.rttvar_us = 0
        self.rtt_seq = 0  # snd_nxt when the current window's maximum began
        self.min_us: int | None = None
        self.rto = TIMEOUT_INIT  # ns, with the timer's backoff in it
        self.samples = 0

    def sample(self, rtt_us: int, snd_una: int, snd_nxt: int, latest_us: int | None = None) -> None:
        """Take in one measurement and set `rto` anew, which ends a backoff (RFC 6298, 5.7).

        `latest_us`: of the last segment that the same ACK is for; the least RTT is of these.
        """
        self.samples += 1
        latest = rtt_us if latest_us is None else latest_us
        if self.min_us is None or latest < self.min_us:
            self.min_us = latest
        if self.srtt_us:
            self._smooth(rtt_us)
            if after(snd_una, self.rtt_seq):
                if self.mdev_max_us < self.rttvar_us:
                    self.rttvar_us -= (self.rttvar_us - self.mdev_max_us) >> 2
                self.rtt_seq = snd_nxt
                self.mdev_max_us = _RTO_MIN_US
        else:
            self.srtt_us = rtt_us << 3
            self.mdev_us = rtt_us << 1
            self.rttvar_us = max(self.mdev_us, _RTO_MIN_US)
            self.mdev_max_us = self.rttvar_us
            self.rtt_seq = snd_nxt
        self.srtt_us = max(1, self.srtt_us)
        self.set_rto()

    def _smooth(self, rtt_us: int) -> None:
        error = rtt_us - (self.srtt_us >> 3)
        self.srtt_us += error
        if error < 0:
            # A sudden fall must not raise the variance as much as a rise does (Eifel).
            error = -error - (self.mdev_us >> 2)
            if error > 0:
                error >>= 3
        else:
            error -= self.mdev_us >> 2
        self.mdev_us += error
        if self.mdev_us > self.mdev_max_us:
            self.mdev_max_us = self.mdev_us
            self.rttvar_us = max(self.rttvar_us, self.mdev_max_us)

    def set_rto(self) -> None:
        self.rto = min(((self.srtt_us >> 3) + self.rttvar_us) * USEC, RTO_MAX)

    def back_off(self) -> None:
        """RFC 6298, 5.5."""
        self.rto = min(self.rto << 1, RTO_MAX)
