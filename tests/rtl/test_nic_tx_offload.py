"""Fragments, checksums, segments and tags through the whole NIC, against a reference in Python."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import tx_frames
from nic_harness import SEED, SIMS, Nic, nic_test, run_nic_tests
from nic_harness_rings import Ring
from tx_frames import ACK, CWR, FIN, PSH, TCP, TxFrame

from pystack.core.dma import Direction
from pystack.dev.drivers import w2a_regs as regs
from pystack.dev.drivers.w2a_regs import CplStatus
from tb.settings import Resp

MOST = 24  # fragments of a frame
Load = Sequence[tuple[TxFrame, Sequence[int]]]


async def send(nic: Nic, load: Load, ring: Ring | None = None, us: int = 3000) -> None:
    """Have frames sent; each fragment completes, and the wire has what the reference says."""
    ring = ring or nic.tx
    first, before = len(ring.done), len(nic.sent)
    parts = [tx_frames.fragments(frame.data, cuts) for frame, cuts in load]
    for (frame, _), pieces in zip(load, parts, strict=True):
        if ring.free < len(pieces):
            await ring.doorbell()
            await nic.until(lambda: ring.free >= len(pieces), "room", us)  # noqa: B023
        positions = [nic.rng.randrange(-40, 40) for _ in pieces]
        ring.post_fragments(pieces, frame.words, positions)
    await ring.doorbell()
    flat = [piece for pieces in parts for piece in pieces]
    await nic.until(lambda: len(ring.done) - first == len(flat), "completions", us)
    assert ring.outcome(first) == [(CplStatus.OK, piece) for piece in flat]
    due = [wire.ljust(60, b"\0") for frame, _ in load for wire in frame.wire]
    await nic.until(lambda: len(nic.sent) - before >= len(due), "frames on the wire", us)
    compare(nic.sent[before:], due)


def compare(sent: Sequence[bytes], due: Sequence[bytes]) -> None:
    assert len(sent) == len(due)
    for number, (got, wanted) in enumerate(zip(sent, due, strict=True)):
        assert got == wanted, f"frame {number}: {got[:96].hex()} not {wanted[:96].hex()}"


def some_frame(rng: random.Random) -> TxFrame:
    """Any mix of what can be asked for."""
    more: dict[str, Any] = {"vlan_tci": rng.choice((None, rng.getrandbits(16)))}
    kind = rng.randrange(6)
    if kind == 0:
        return tx_frames.plain(rng, rng.choice((14, 60, rng.randrange(14, 1514))), **more)
    if kind == 1:
        return tx_frames.packet(rng, rng.randrange(1, 1200), **more)
    if kind == 2:
        return tx_frames.packet(rng, rng.randrange(1, 1200), TCP, **more)
    mss = rng.choice((1, 7, 8, 9, 100, 536, 1200))
    payload = rng.randrange(1, min(30 * mss, 9000))
    return tx_frames.tcp_segments(rng, payload, mss, **more)


# ---------------------------------------------------------------- scatter-gather


@nic_test()
async def frames_of_fragments_of_all_lengths_and_places_leave_whole(dut: Any) -> None:
    nic = Nic(dut, entries=64)
    await nic.start()
    rng = random.Random(SEED)
    load: list[tuple[TxFrame, Sequence[int]]] = []
    for first in range(1, 18):
        for second in (1, 7, 8, 9, 16, 33):
            load.append((tx_frames.plain(rng, first + second), (first, second)))
    for _ in range(30):
        frame = tx_frames.plain(rng, rng.randrange(60, 1515))
        load.append((frame, tx_frames.some_cuts(rng, len(frame.data), MOST)))
    load.append((tx_frames.plain(rng, MOST), (1,) * MOST))
    await send(nic, load)
    assert await nic.queue_counters() == {"tx_frames": len(load)}
    await nic.finish()


@nic_test()
async def too_many_fragments_are_refused_and_the_next_frame_goes_out(dut: Any) -> None:
    """Also more than the prefetch holds, and more than the ring has."""
    nic = Nic(dut, entries=64, queues=1)
    await nic.start()
    rng = random.Random(SEED)
    for count in (MOST + 1, 2 * MOST, 63):
        start, sent = len(nic.tx.done), len(nic.sent)
        nic.tx.post_fragments([b"x" * 10] * count, (0, 0, 0))
        await nic.tx.doorbell()
        good = tx_frames.plain(rng, 70)
        nic.tx.post_frame(good.data)
        await nic.tx.doorbell()
        await nic.until(lambda: len(nic.sent) > sent, "the good frame")  # noqa: B023
        await nic.until(lambda: len(nic.tx.done) == start + count + 1, "completions")  # noqa: B023
        status = [done.status for done in nic.tx.done[start:]]
        assert status == [CplStatus.BAD_LENGTH] * count + [CplStatus.OK]
        assert nic.sent[sent:] == [good.data]
    assert await nic.queue_counters() == {"tx_frames": 3, "tx_bad_length": 3}
    await nic.finish()


@nic_test()
async def a_ring_full_of_one_endless_frame_is_refused(dut: Any) -> None:
    nic = Nic(dut, entries=8)
    await nic.start()
    for _ in range(8):
        nic.tx.post_frame(b"y" * 20, last=False)
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.tx.done) == 8, "refusals")
    assert await nic.queue_counters() == {}, "its end may be lost with its ring: who counts that?"
    for last in (False, True):
        nic.tx.post_frame(b"z" * 20, last=last)
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.tx.done) == 10, "the rest of it")
    assert [done.status for done in nic.tx.done] == [CplStatus.BAD_LENGTH] * 10
    assert await nic.queue_counters() == {"tx_bad_length": 1}, "it is one frame"
    await nic.transmit([nic.frame(99)])
    await nic.finish()


@nic_test()
async def an_unfinished_frame_keeps_nobody_waiting_and_leaves_nothing_behind(dut: Any) -> None:
    nic = Nic(dut, entries=8)
    await nic.start()
    for rounds in range(3):
        for number in range(rounds + 1):
            nic.tx.post_frame(b"half" * 20, number, last=False)
        await nic.tx.doorbell()
        await nic.cycles(200)
        assert int(dut.idle.value), "half a frame is nothing to do"
        await nic.tx.disable()
        nic.tx.forget()
        await nic.tx.start()
        await nic.transmit([nic.frame(300), nic.frame(61)])
    await nic.finish()


@nic_test("queues")
async def an_unfinished_frame_does_not_hold_up_other_queues(dut: Any) -> None:
    nic = Nic(dut, queues=3)
    await nic.start()
    first, other = nic.queues[0].tx, nic.queues[1].tx
    first.post_frame(b"head" * 20, last=False)
    await first.doorbell()
    await nic.cycles(100)
    await nic.transmit([nic.frame(1000) for _ in range(5)], queue=1)
    first.post_frame(b"tail" * 20)
    await first.doorbell()
    await nic.until(lambda: len(first.done) == 2, "the rest")
    await nic.until(lambda: len(nic.sent) == 6, "the frame")
    assert nic.sent[-1] == b"head" * 20 + b"tail" * 20
    assert len(other.done) == 5
    await nic.finish()


# ---------------------------------------------------------------- checksums, tags


@nic_test()
async def checksums_and_tags_are_inserted(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    rng = random.Random(SEED)
    frames = [tx_frames.with_sum_of_zero(rng) for _ in range(3)]
    for _ in range(40):
        tci = rng.choice((None, rng.getrandbits(16)))
        frames.append(tx_frames.packet(rng, rng.randrange(0, 200), vlan_tci=tci))
        frames.append(tx_frames.packet(rng, rng.randrange(0, 1300), TCP, vlan_tci=tci))
    for length in range(14, 40):
        frames.append(tx_frames.plain(rng, length, vlan_tci=length))
    for start, offset in ((2, 0), (14, 6), (16, 30), (254, 30), (60, 0)):
        for length in range(start + offset + 2, start + offset + 12):
            frames.append(tx_frames.anywhere(rng, length, start, offset))
    await send(nic, [(frame, (len(frame.data),)) for frame in frames])
    await nic.finish()


# ---------------------------------------------------------------- segmentation


@nic_test()
async def segments_are_what_linux_would_make(dut: Any) -> None:
    """Both versions, with options and extension headers, tags in the data and inserted."""
    nic = Nic(dut, entries=64)
    await nic.start()
    rng = random.Random(SEED)
    load: list[tuple[TxFrame, Sequence[int]]] = []
    for mss in (1, 2, 7, 8, 9, 15, 16, 536, 1200):
        for payload in (1, mss, mss + 1, 2 * mss, 2 * mss + 1, 3 * mss - 1):
            frame = tx_frames.tcp_segments(rng, payload, mss, flags=CWR | FIN | PSH | ACK)
            load.append((frame, (len(frame.data),)))
    for _ in range(25):
        mss = rng.randrange(1, 1250)
        tci = rng.choice((None, 0x6123))
        frame = tx_frames.tcp_segments(rng, rng.randrange(1, 12 * mss), mss, vlan_tci=tci)
        load.append((frame, tx_frames.some_cuts(rng, len(frame.data), MOST)))
    await send(nic, load)
    await nic.finish()


@nic_test()
async def sixty_four_kib_leave_as_segments(dut: Any) -> None:
    """In few long fragments, and in as many as there may be."""
    nic = Nic(dut, entries=64)
    await nic.start()
    rng = random.Random(SEED)
    frame = tx_frames.tcp_segments(rng, 65536, 1200, options=3)
    cuts = [len(frame.data) // MOST] * (MOST - 1)
    await send(nic, [(frame, [*cuts, len(frame.data) - sum(cuts)])])
    frame = tx_frames.tcp_segments(rng, 65000, 1200, options=0)
    addr = nic.bench.memory.alloc_pages(17) + 3
    nic.poke(addr, frame.data)
    nic.bench.dma.map_single(addr, len(frame.data), Direction.TO_DEVICE, "long fragment")
    nic.tx.post_raw(addr, len(frame.data), words=frame.words)
    before = len(nic.sent)
    await nic.tx.doorbell()
    await nic.until(lambda: len(nic.sent) - before == len(frame.wire), "segments", us=400)
    compare(nic.sent[before:], frame.wire)
    await nic.finish()


@nic_test()
async def segments_leave_at_line_rate(dut: Any) -> None:
    """64 KiB take the clocks that their bytes take on the wire: 24 more a frame than its own."""
    nic = Nic(dut, entries=64)
    await nic.start()
    rng = random.Random(SEED)
    starts: list[int] = []
    nic.bench.bus.wire.listen(lambda *sent: (starts.append(sent[1]), nic._sent(*sent)))
    headers = tx_frames.Headers(bytes(12) + b"\x08\x00", 4, b"", TCP, bytes(8), 1)
    frame = tx_frames.tcp_segments(rng, 65160, 1448, options=3, headers=headers)
    cuts = [len(frame.data) // 20] * 19
    await send(nic, [(frame, [*cuts, len(frame.data) - sum(cuts)])])
    cycles = (starts[-1] - starts[0]) / 6.4 / (len(starts) - 1)
    assert len(starts) == 45 and cycles <= (1514 + 24) / 8 + 0.05, cycles
    await nic.finish()


@nic_test()
async def what_cannot_be_cut_is_refused(dut: Any) -> None:
    nic = Nic(dut)
    await nic.start()
    rng = random.Random(SEED)
    good = tx_frames.tcp_segments(rng, 3000, 1000, options=0)
    data, start = good.data, good.csum_start
    cases = {
        "mss 0": (data, good.words[0], 0),
        "no checksum start": (data, regs.TX_DESC_SEGMENT, 1000),
        "checksum elsewhere": (data, TxFrame(data, start, 6, mss=1).words[0], 1000),
        "header without payload": (data[: start + 20], good.words[0], 1000),
        "less than a header": (data[: start + 18], good.words[0], 1000),
        "no TCP header": (data[: start + 12] + b"\x40" + data[start + 13 :], good.words[0], 1000),
        "header beyond the frame": (
            data[: start + 12] + b"\xf0" + data[start + 13 : start + 40],
            good.words[0],
            1000,
        ),
        "not IP": (data[:12] + b"\x88\xb5" + data[14:], good.words[0], 1000),
        "segments too long": (data, good.words[0], 2000),
        "a long header": (bytes(3000), TxFrame(b"", 254, 16, mss=1).words[0], 1000),
        "a header in the addresses": (data, TxFrame(b"", 2, 16, mss=1).words[0], 1000),
    }
    for what, (frame, flags, mss) in cases.items():
        before = len(nic.tx.done)
        nic.tx.post_frame(frame, words=(flags, 0, mss))
        await nic.tx.doorbell()
        await nic.until(lambda: len(nic.tx.done) > before, what)  # noqa: B023
        assert nic.tx.done[-1].status == CplStatus.BAD_LENGTH, what
        assert nic.sent == [], what
    await send(nic, [(good, (len(data),))])
    counters = await nic.queue_counters()
    assert counters == {"tx_frames": 1, "tx_bad_length": len(cases)}
    await nic.finish()


@nic_test("queues")
async def a_queue_of_64_kib_frames_does_not_starve_the_others(dut: Any) -> None:
    """Such a frame is not interrupted, but then others send as much before the queue's next one."""
    nic = Nic(dut, queues=3, entries=64)
    await nic.start()
    rng = random.Random(SEED)
    long, short = nic.queues[0].tx, nic.queues[2].tx
    frames = [tx_frames.tcp_segments(rng, 65000, 1200, options=0) for _ in range(2)]
    for frame in frames:
        cuts = [len(frame.data) // 20] * 19
        parts = tx_frames.fragments(frame.data, [*cuts, len(frame.data) - sum(cuts)])
        long.post_fragments(parts, frame.words)
    others = [nic.frame(1000) for _ in range(60)]
    for other in others:
        short.post_frame(other)
    await long.doorbell()
    await nic.cycles(100)
    await short.doorbell()
    due = [list(frame.wire) for frame in frames]
    total = sum(map(len, due)) + len(others)
    await nic.until(lambda: len(nic.sent) == total, "all frames", us=1000)
    compare(nic.sent, [*due[0], *others, *due[1]])
    await nic.finish()


# ---------------------------------------------------------------- everything at once


async def mixed_load(dut: Any, frames: int, stalls: bool) -> None:
    nic = Nic(dut, entries=64)
    await nic.start()
    if stalls:
        nic.bench.bus.set_latency(read=(0, 3, 50, 200))
    rng = random.Random(SEED)
    load = []
    for _ in range(frames):
        frame = some_frame(rng)
        load.append((frame, tx_frames.some_cuts(rng, len(frame.data), MOST)))
    await send(nic, load)
    assert "tx_underrun" not in await nic.counters()
    await nic.finish()


@nic_test()
async def any_mix_of_offloads_and_fragments_is_exact(dut: Any) -> None:
    await mixed_load(dut, 60, stalls=True)


@nic_test("narrow")
async def so_on_a_narrow_bus(dut: Any) -> None:
    await mixed_load(dut, 40, stalls=False)


@nic_test("wide")
async def so_on_a_wide_bus(dut: Any) -> None:
    await mixed_load(dut, 40, stalls=False)


@nic_test()
async def a_bus_error_on_any_fragment_discards_the_frame(dut: Any) -> None:
    """All its completions say so.  Of a frame to be segmented, what went before may have left."""
    nic = Nic(dut, entries=64)
    await nic.start(run_on=True)
    rng = random.Random(SEED)
    errors = 0
    for number in range(24):
        frame = some_frame(rng)
        cuts = tx_frames.some_cuts(rng, len(frame.data), MOST)
        pieces = tx_frames.fragments(frame.data, cuts)
        start, sent = len(nic.tx.done), len(nic.sent)
        addrs = nic.tx.post_fragments(pieces, frame.words, (rng.randrange(-40, 40),))
        bad = rng.randrange(len(pieces))
        at = addrs[bad] + rng.randrange(len(pieces[bad]))
        resp, status = rng.choice(
            ((Resp.SLVERR, CplStatus.DATA_SLVERR), (Resp.DECERR, CplStatus.DATA_DECERR))
        )
        rule = nic.bench.host.fail("read", at, at + 1, resp)
        after = tx_frames.plain(rng, 100 + number)
        nic.tx.post_frame(after.data)
        await nic.tx.doorbell()
        total = len(pieces) + 1
        await nic.until(lambda: len(nic.tx.done) == start + total, "completions")  # noqa: B023
        await nic.until(lambda: nic.sent[-1:] == [after.data], "next frame")  # noqa: B023
        nic.bench.host.forgive(rule)
        found = [done.status for done in nic.tx.done[start:]]
        assert found == [status] * (total - 1) + [CplStatus.OK]
        left = nic.sent[sent:-1]
        due = [wire.ljust(60, b"\0") for wire in frame.wire]
        assert left == due[: len(left)] and len(left) < len(due), "only what went before"
        assert frame.mss or left == []
        errors += 1
    assert await nic.queue_counter(0, "tx_bus_error") == errors
    await nic.finish()


@pytest.mark.parametrize("sim", SIMS)
@pytest.mark.parametrize("build", ["default", "queues", "narrow", "wide"])
def test_nic_tx_offload(sim: str, build: str) -> None:
    run_nic_tests(__name__, sim, build)


@pytest.mark.parametrize("sim", SIMS)
def test_nic_tx_offload_on_pins(sim: str) -> None:
    run_nic_tests(__name__, sim, bus="pins")
