"""Numbers an outsider must not guess (RFC 6528, RFC 6056, RFC 7323 5.4; `secure_seq.c`)."""

from __future__ import annotations

from hashlib import blake2s
from random import Random

from pystack.transport.tcp.seq import SEQ_MASK


class Secrets:
    """The keyed hash of one host.  The key comes from the host's `rng`, so a seed repeats it."""

    def __init__(self, rng: Random) -> None:
        self._key = rng.randbytes(32)

    def _hash(self, purpose: bytes, *parts: bytes | int) -> int:
        digest = blake2s(purpose, key=self._key, digest_size=4)
        for part in parts:
            digest.update(part if isinstance(part, bytes) else part.to_bytes(2, "big"))
        return int.from_bytes(digest.digest(), "big")

    def isn(self, laddr: bytes, raddr: bytes, lport: int, rport: int, now: int) -> int:
        """A clock of 64 ns plus a hash of the connection's addresses (RFC 6528, 3)."""
        return (self._hash(b"isn", laddr, raddr, lport, rport) + (now >> 6)) & SEQ_MASK

    def timestamp_offset(self, laddr: bytes, raddr: bytes) -> int:
        """What is added to the millisecond clock of TSval (RFC 7323, 5.4)."""
        return self._hash(b"ts", laddr, raddr)

    def cookie_hash(self, tuple4: tuple[bytes, int, bytes, int], count: int | None) -> int:
        """Of a SYN cookie: a part that stays, and for `count` one of that minute."""
        period = b"" if count is None else count.to_bytes(8, "big")
        return self._hash(b"cookie", *tuple4, period)

    def port_offset(self, laddr: bytes, raddr: bytes, rport: int) -> int:
        """Where the search for an ephemeral port starts (RFC 6056, 3.3.3)."""
        return self._hash(b"port", laddr, raddr, rport)
