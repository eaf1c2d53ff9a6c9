"""`ethtool` on the modelled NIC: its text is the real one's, and settings change live."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
from nic_pair import DATA, MACS, SECOND, Pair, is_tcp, udp_frame

from pystack.core.skb import SkBuff
from pystack.core.wait import WaitQueue, wait_event
from pystack.dev.drivers import w2a_regs as regs
from pystack.host import finished
from pystack.tools.tool import ToolError

REAL = shutil.which("ethtool")


def tool(pair: Pair, command: str) -> str:
    """What it prints, failure included, as a terminal would show it."""

    text: str = pair.do(pair.a, tool_here, pair, command)
    return text


def tool_here(pair: Pair, command: str) -> str:
    """The same in a task that runs."""
    try:
        return pair.a.tool(command)
    except ToolError as exc:
        return f"{exc.output}{exc}\nstatus {exc.status}\n"


def real(*commands: str) -> list[str]:
    """The same of this machine's ethtool on a veth and a TAP device."""
    if REAL is None:
        pytest.skip("no ethtool on this machine")
    setup = "ip link add v0 type veth peer name v1 && ip tuntap add t0 mode tap && "
    script = setup + "; ".join(f"{c} 2>&1 || echo status $?; echo ----" for c in commands)
    done = subprocess.run(["unshare", "-rn", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no namespace with a veth: {done.stderr}")
    return done.stdout.split("----\n")[:-1]


def names(text: str) -> list[str]:
    """What stands before each colon, indentation and all."""
    return [line.partition(":")[0] for line in text.splitlines()[1:]]


def test_the_forms_are_those_of_the_real_ethtool() -> None:
    pair = Pair(queues=2)
    there = real("ethtool -k v0", "ethtool -i v0", "ethtool -l v0", "ethtool -c t0")
    here = [tool(pair, f"ethtool {option} eth0") for option in ("-k", "-i", "-l", "-c")]
    for ours, theirs in zip(here, there, strict=True):
        assert names(ours) == names(theirs)
        assert ours.splitlines()[0].replace("eth0", "X") == re.sub(
            "v0|t0", "X", theirs.splitlines()[0]
        ).replace("driver: veth", "driver: w2a_nic")


def test_complaints_are_those_of_the_real_ethtool() -> None:
    pair = Pair()
    options = (
        *("-K eth0 foo off", "-k nosuch", "-i nosuch", "-S nosuch", "-x nosuch", "-g nosuch"),
        *("-K eth0 tx maybe", "-K eth0 gso", "-L eth0 combined 9", "-L eth0 foo 1", "-q eth0"),
        *("-i", "-X eth0", "-K eth0", "-L eth0 combined \u00b2", "-a nosuch"),
        *("-A eth0 foo on", "-A eth0 rx", "-A eth0 tx maybe"),
    )
    there = real(*(f"ethtool {option}".replace("eth0", "v0") for option in options))
    for option, theirs in zip(options, there, strict=True):
        ours = tool(pair, f"ethtool {option}")
        if option == "-K eth0 foo off":  # ethtool 6.1 says more, of another cause, in that case
            ours, theirs = ours.splitlines()[0], theirs.splitlines()[0]
        assert sorted(ours.splitlines()) == sorted(theirs.splitlines()), option


def test_lo_has_no_driver_to_ask() -> None:
    pair = Pair()
    options = ("-i lo", "-S lo", "-g lo", "-c lo", "-x lo", "-l lo", "-a lo", "-A lo rx on")
    there = real(*(f"ethtool {option}" for option in options))
    assert [tool(pair, f"ethtool {option}") for option in options] == there


def test_a_feature_that_needs_another_goes_and_comes_back_with_it() -> None:
    pair = Pair()
    assert tool(pair, "ethtool -K eth0 tso off") == ""
    assert tool(pair, "ethtool -K eth0 tso on").splitlines() == [
        "Actual changes:",
        "tx-tcp-segmentation: on",
        "tx-tcp-ecn-segmentation: on",
        "tx-tcp-mangleid-segmentation: off [requested on]",
        "tx-tcp6-segmentation: on",
        "tx-tcp-accecn-segmentation: off [requested on]",
    ]
    assert tool(pair, "ethtool -K eth0 sg off").splitlines() == [
        "Actual changes:",
        "tx-scatter-gather: off",
        "tx-tcp-segmentation: off [not requested]",
        "tx-tcp-ecn-segmentation: off [not requested]",
        "tx-tcp6-segmentation: off [not requested]",
    ]
    assert "\ttx-tcp-segmentation: off [requested on]\n" in tool(pair, "ethtool -k eth0")
    assert pair.dev.features["tx"] and not pair.dev.features["tso"]
    tool(pair, "ethtool -K eth0 sg on")
    assert pair.dev.features["tso"]
    assert "Could not change" in tool(pair, "ethtool -K eth0 ntuple on")


def test_settings_change_while_traffic_runs_and_nothing_is_lost_for_good() -> None:
    pair = Pair(cpus=4, queues=4)
    commands = (
        *("ethtool -G eth0 rx 64 tx 32", "ethtool -L eth0 combined 2", "ethtool -K eth0 tso off"),
        *("ethtool -C eth0 rx-usecs 20 rx-frames 16", "ethtool -X eth0 equal 1"),
        *("ethtool -K eth0 sg off tx off", "ethtool -L eth0 combined 1", "ethtool -X eth0 default"),
        *("ethtool -L eth0 combined 4", "ethtool -G eth0 rx 512 tx 512", "ethtool -K eth0 tx on"),
        *("ethtool -C eth0 adaptive-rx on", "ethtool -X eth0 weight 1 2 3 2"),
        "ethtool -K eth0 sg on tso on rx off rxhash off",
    )
    answers: list[str] = []

    def admin() -> None:
        for command in commands:
            wait_event(pair.a.kernel, WaitQueue(), lambda: False, timeout=150_000)
            answers.append(pair.a.tool(command))

    pair.a.start(admin)
    pair.send(DATA * 4)
    pair.transfer(pair.b, pair.a, DATA * 4, "10.77.0.1", 81)
    assert len(answers) == len(commands)
    assert "Combined:\t4" in tool(pair, "ethtool -l eth0").partition("Current")[2]
    assert "RX:\t\t\t512" in tool(pair, "ethtool -g eth0").partition("Current")[2]
    assert tool(pair, "ethtool -c eth0").splitlines()[1] == "Adaptive RX: on  TX: n/a"
    pair.close()


def test_other_rings_and_channels_again_and_again_do_not_use_memory_up() -> None:
    """What the former rings had is joined, for the next ones that are larger."""
    pair = Pair(cpus=4, queues=4)

    def admin() -> None:
        for entries, queues in zip((64, 128, 256, 512, 1024), (2, 4, 4, 2, 1), strict=True):
            wait_event(pair.a.kernel, WaitQueue(), lambda: False, timeout=150_000)
            pair.a.tool(f"ethtool -G eth0 rx {entries} tx {entries}")
            pair.a.tool(f"ethtool -L eth0 combined {queues}")

    task = pair.a.start(admin)
    pair.send(DATA * 2)
    pair.engine.run(stop=finished(task))
    pair.close()


def test_rings_for_which_there_is_no_memory_are_refused_and_the_former_go_on() -> None:
    pair = Pair(queues=2)
    command = "ethtool -G eth0 rx 32768 tx 32768"
    pools = [queue.rx.pool for queue in pair.nic.queues]
    used = pair.a.kernel.memory.pages_in_use
    answers: list[str] = []
    pair.a.start(lambda: answers.append(tool_here(pair, command)))
    pair.send(DATA)
    assert answers == ["netlink error: Cannot allocate memory\nstatus 1\n"]
    assert tool(pair, command) == answers[0]
    assert [queue.rx.pool for queue in pair.nic.queues] == pools, "none was stopped"
    assert "RX:\t\t\t256" in tool(pair, "ethtool -g eth0").partition("Current")[2]
    assert pair.a.kernel.memory.pages_in_use == used
    pair.do(pair.a, pair.a.core.stop, pair.dev)
    assert tool(pair, command) == "", "it is asked for when the device is opened"
    refused = "RTNETLINK answers: Cannot allocate memory\nstatus 2\n"
    assert tool(pair, "ip link set eth0 up") == refused
    assert pair.a.kernel.memory.pages_in_use == 0
    tool(pair, "ethtool -G eth0 rx 64 tx 64")
    pair.do(pair.a, pair.a.core.open, pair.dev)
    pair.send(DATA[:10000], port=81)
    pair.close()


def pause_frame(quanta: int) -> bytes:
    head = bytes.fromhex("0180c2000001") + MACS[1] + bytes.fromhex("88080001")
    return (head + quanta.to_bytes(2, "big")).ljust(60, b"\0")


def test_pause_frames_are_obeyed_if_told_to_also_after_a_restart() -> None:
    pair = Pair(queues=2)
    form = "Pause parameters for eth0:\nAutonegotiate:\toff\nRX:\t\t{}\nTX:\t\t{}\n\n"

    def sent_while_paused() -> bool:
        """In a pause of 3 ms; what is sent would take microseconds."""
        pair.link.b.send(pause_frame(0xFFFF))
        wait_event(pair.a.kernel, WaitQueue(), lambda: False, timeout=100_000)
        before = pair.nic.get_stats()["tx_frames"]
        for sport in range(2000, 2200):
            skb = SkBuff(pair.a.kernel, memoryview(udp_frame(b"", True, sport)))
            skb.dev = pair.dev
            pair.a.core.queue_xmit(skb)
        wait_event(pair.a.kernel, WaitQueue(), lambda: False, timeout=1_000_000)
        return bool(pair.nic.get_stats()["tx_frames"] > before)

    assert tool(pair, "ethtool -a eth0") == form.format("off", "off")
    assert pair.do(pair.a, sent_while_paused)
    assert tool(pair, "ethtool -A eth0 rx on tx on") == ""
    assert tool(pair, "ethtool -a eth0") == form.format("on", "on")
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert not pair.do(pair.a, sent_while_paused)
    assert pair.stats()["rx_pause"] == 2
    assert tool(pair, "ethtool -L eth0 combined 1") == ""
    assert not pair.do(pair.a, sent_while_paused), "it is set again"
    pair.do(pair.a, pair.a.core.stop, pair.dev)
    pair.do(pair.a, pair.a.core.open, pair.dev)
    assert not pair.do(pair.a, sent_while_paused), "and when the device is opened"
    assert tool(pair, "ethtool -A eth0 rx off") == ""
    assert pair.do(pair.a, sent_while_paused)
    assert tool(pair, "ethtool -A eth0 autoneg on").endswith("not supported\nstatus 76\n")
    pair.close()


@pytest.mark.parametrize("mtu", (1500, 9000))
def test_behind_xoff_there_is_room_for_what_still_comes(mtu: int) -> None:
    """A frame under way on each side and 60 quanta, of a buffer of 32 KiB."""
    pair = Pair(mtu=mtu)
    threshold = pair.do(pair.a, pair.nic.registers.read32, regs.PAUSE_THRESHOLD)
    xoff, xon = threshold & 0xFFFF, threshold >> 16
    assert 0 < xon < xoff
    assert 64 * xoff + 2 * (mtu + 42) + 60 * 64 < 32768
    assert 64 * xoff > 2500, "and for a burst before"
    pair.close()


def test_headers_go_into_buffers_of_their_own_while_traffic_runs() -> None:
    pair = Pair()
    lengths: list[int] = []
    gather = pair.nic.queues[0].receive._gather

    def watched() -> memoryview:
        lengths.append(pair.nic.queues[0].receive._parts[0][1])
        return gather()

    pair.nic.queues[0].receive._gather = watched
    pair.transfer(pair.b, pair.a, DATA, "10.77.0.1")
    assert lengths == []
    assert tool(pair, "ethtool -G eth0 tcp-data-split on") == ""
    assert "TCP data split:\t\ton\n" in tool(pair, "ethtool -g eth0")
    pair.transfer(pair.b, pair.a, DATA, "10.77.0.1", 81)
    assert len(lengths) > 300 and set(lengths) == {66}
    assert tool(pair, "ethtool -K eth0 rxvlan off") == ""
    pair.transfer(pair.b, pair.a, DATA, "10.77.0.1", 82)
    assert len(lengths) > 600, "another feature leaves it on"
    seen = len(lengths)
    assert tool(pair, "ethtool -G eth0 tcp-data-split off") == ""
    pair.transfer(pair.b, pair.a, DATA, "10.77.0.1", 83)
    assert len(lengths) == seen
    pair.close()


def test_the_table_is_shown_as_it_steers() -> None:
    pair = Pair(cpus=4, queues=4)
    lines = tool(pair, "ethtool -x eth0").splitlines()
    assert lines[0] == "RX flow hash indirection table for eth0 with 4 RX ring(s):"
    assert lines[1] == "    0:      0     1     2     3     0     1     2     3"
    assert lines[16] == "  120:      0     1     2     3     0     1     2     3"
    tool(pair, "ethtool -X eth0 weight 3 1")
    table = pair.nic.ethtool.get_rxfh().table
    assert table == (0,) * 96 + (1,) * 32
    key = ":".join(["6d"] * 40)
    tool(pair, f"ethtool -X eth0 hkey {key}")
    assert tool(pair, "ethtool -x eth0").splitlines()[18] == key
    assert "Invalid argument" in tool(pair, "ethtool -X eth0 hkey 6d:5a")
    assert "Invalid argument" in tool(pair, "ethtool -X eth0 equal 5")


def test_statistics_name_what_the_hardware_counts() -> None:
    pair = Pair()
    pair.send(DATA[:3000])
    text = tool(pair, "ethtool -S eth0")
    counts = dict(re.findall(r"^     (\w+): (\d+)$", text, re.MULTILINE))
    frames = [data for way, data in pair.wire if way == "tx"]
    assert int(counts["tx_frames"]) == len(frames)
    assert any(map(is_tcp, frames))
    nic: Any = pair.nic
    assert set(counts) == set(nic.get_stats())
    pair.engine.run(until=pair.engine.now + SECOND)


@pytest.mark.parametrize("delay", (0, 3500, 4500, 6000))
def test_settings_that_two_change_at_once_take_turns(delay: int) -> None:
    """Rings and MTU by one task, channels by another, and the device goes down in the midst."""
    pair = Pair(cpus=4, queues=4)
    tasks = [
        pair.a.start(pair.a.tool, "ethtool -G eth0 rx 64 tx 64", cpu=1),
        pair.a.start(pair.a.tool, "ethtool -L eth0 combined 2", cpu=2),
        pair.a.start(pair.dev.change_mtu, 9000, cpu=3),
    ]
    pair.engine.run(until=pair.engine.now + delay)
    pair.do(pair.a, pair.a.core.stop, pair.dev)
    pair.engine.run(until=pair.engine.now + SECOND // 100)
    assert all(finished(task)() for task in tasks)
    assert not any(queue.running for queue in pair.nic.queues)
    pair.do(pair.a, pair.a.core.open, pair.dev)
    assert (pair.nic.rx_entries, len(pair.nic.queues), pair.dev.mtu) == (64, 2, 9000)
    pair.send(DATA[:10000])
    pair.close()
