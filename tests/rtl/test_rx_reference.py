"""Two references of the receive parser, the tests' and the device model's, say the same."""

from __future__ import annotations

import random

from conftest import SEED
from rx_packets import Packets
from rx_reference import Rss, facts_of

from pystack.dev.model.dissect import dissect


def test_the_model_of_the_device_reads_headers_as_the_reference_does() -> None:
    packets = Packets(random.Random(SEED))
    seen = set()
    for _ in range(4000):
        frame = packets.frame()
        facts, found = facts_of(frame, Rss()), dissect(frame)
        said = (found.ip_ok, found.l4_ok, found.l4_bad, found.headers)
        due = (facts.ip_ok, facts.l4_ok, facts.l4_bad, facts.header_len)
        assert said == due, frame.hex()
        assert bool(found.addresses) == bool(facts.hash_type), frame.hex()
        assert bool(found.ports) == (facts.hash_type > 1), frame.hex()
        seen.add((*due[:3], bool(facts.header_len), facts.hash_type))
    assert len(seen) > 20
