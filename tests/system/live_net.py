"""Simulated hosts on a TAP of the real Linux, without an RTL NIC: `unshare -rn live_net.py CASE`.

    far     Linux 10.77.1.1 -- 10.77.1.2 router 10.77.2.1 -- 10.77.2.2 host     (both simulated)
    far6    Linux fd77::1 -- fd77::2 router fd77:2::1 -- fd77:2::2 host         (both simulated)
    near    host 10.77.1.2 (simulated) -- 10.77.1.1 Linux 10.77.3.1 -- 10.77.3.2 another namespace

Simulated time is the wall's.  What it prints is for `test_live_ipv4.py`; the capture is at --out.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import hashlib
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pystack.core.engine import VirtualEngine  # noqa: E402
from pystack.dev.netdev import NetDevice  # noqa: E402
from pystack.dev.wire import Link  # noqa: E402
from pystack.host import Host, finished  # noqa: E402
from pystack.tools.pcapng import Capture  # noqa: E402
from wire2app.netns import make_tap  # noqa: E402

LINUX, ROUTER, FAR = "10.77.1.1", "10.77.1.2", "10.77.2.2"
BEYOND = "10.77.3.2"
ROUTER6, FAR6 = "fd77::2", "fd77:2::2"
PORT = 7777
STEP = 50_000_000  # ns simulated at most between two looks at the TAP
DATA = bytes(i * 7 & 255 for i in range(200_000))


class TapPort:
    """The wire's end that is a TAP."""

    def __init__(self, tap: int, engine: VirtualEngine, capture: Capture) -> None:
        self.tap = tap
        self.engine = engine
        self.capture = capture
        self._receive: Callable[[bytes, int, int], None] | None = None
        os.set_blocking(tap, False)

    def on_receive(self, receive: Callable[[bytes, int, int], None]) -> None:
        self._receive = receive

    def send(self, frame: bytes, on_sent: Callable[[], None] | None = None) -> None:
        frame = frame.ljust(60, b"\0")
        self.capture.write(frame, self.engine.now, outgoing=True)
        with contextlib.suppress(OSError):
            os.write(self.tap, frame)
        if on_sent is not None:
            self.engine.call_later(0, on_sent)

    def pump(self) -> None:
        for _ in range(64):
            try:
                frame = os.read(self.tap, 65536)
            except BlockingIOError:
                return
            self.capture.write(frame, self.engine.now, outgoing=False)
            if self._receive is not None:
                self._receive(frame, self.engine.now, self.engine.now)


class Live:
    def __init__(self, out: Path) -> None:
        self.engine = VirtualEngine()
        self.capture = Capture(out, "tap0")
        tap = make_tap("tap0", f"{LINUX}/24", "fd77::1/64", bytes.fromhex("020000000001"))
        self.port = TapPort(tap, self.engine, self.capture)
        self.start = time.monotonic_ns()

    def host(self, name: str) -> Host:
        return Host(self.engine, name)

    def up(self, host: Host, dev: NetDevice, address: str) -> None:
        task = host.start(host.up, dev, address)
        self.engine.run(stop=finished(task))
        self.start = min(self.start, time.monotonic_ns() - self.engine.now)  # it took no time

    def run_while(self, busy: Callable[[], bool]) -> None:
        """Simulate in real time, but never jump over what Linux may have to say meanwhile."""
        poll = select.poll()
        poll.register(self.port.tap, select.POLLIN)
        while busy():
            late = time.monotonic_ns() - self.start - self.engine.now - STEP
            self.start += max(late, 0)
            now = time.monotonic_ns() - self.start
            self.engine.run(until=max(now, self.engine.now))
            due = self.engine.next_time()
            wait = 50.0 if due is None else min(max((due - now) / 1e6, 0), 50.0)
            if poll.poll(wait):
                self.port.pump()

    def shell(self, command: str) -> str:
        """Run on Linux meanwhile; what it printed."""
        done: list[str] = []

        def run() -> None:
            result = subprocess.run(
                command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            done.append(result.stdout)

        thread = threading.Thread(target=run)
        thread.start()
        self.run_while(thread.is_alive)
        return done[0]


def sink(module: Any, address: str, ready: Callable[[], None] = lambda: None) -> str:
    """Take one connection's data to its end; their digest."""
    digest = hashlib.sha256()
    family = module.AF_INET6 if ":" in address else module.AF_INET
    with module.create_server((address, PORT), family=family) as server:
        ready()
        conn, _ = server.accept()
        with conn:
            while data := conn.recv(65536):
                digest.update(data)
            conn.sendall(digest.hexdigest().encode())
    return digest.hexdigest()


def source(module: Any, address: str) -> str:
    """Send DATA; "whole" if it arrived whole."""
    with module.create_connection((address, PORT)) as conn:
        conn.sendall(DATA)
        conn.shutdown(module.SHUT_WR)
        answer = b""
        while data := conn.recv(100):
            answer += data
    return "whole" if answer.decode() == hashlib.sha256(DATA).hexdigest() else "damaged"


def ping_sizes(address: str, sizes: range) -> str:
    """From the real kernel: one echo request of each size; what came back as it went."""
    whole, lost = 0, []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        raw.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: fragments allowed
        raw.settimeout(5)
        for size in sizes:
            head = struct.pack("!BBHHH", 8, 0, 0, 7, size)
            request = head + bytes(i & 255 for i in range(256)) * 256
            request = request[: 8 + size]
            total = sum(struct.unpack(f"!{(size + 9) // 2}H", request.ljust(size + 9 & ~1, b"\0")))
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            request = request[:2] + struct.pack("!H", total ^ 0xFFFF) + request[4:]
            raw.sendto(request, (address, 0))
            if _answered(raw, request):
                whole += 1
            else:
                lost.append(size)
    return f"{whole} of {len(sizes)} sizes came back whole; not {lost[:10]}"


def _answered(raw: socket.socket, request: bytes) -> bool:
    with contextlib.suppress(TimeoutError):
        while True:
            packet = raw.recv(70000)
            reply = packet[(packet[0] & 15) * 4 :]
            if reply[0] == 0 and reply[4:] == request[4:]:
                return True
    return False


def client(role: str, *args: str) -> str:
    """This file, called again, as a program on Linux."""
    return " ".join([sys.executable, __file__, role, *args])


# -- cases ---------------------------------------------------------------------------------


def far(live: Live, mtu: int) -> tuple[Host, Host]:
    """Our router and our host behind it, on a link of `mtu`."""
    router, host = live.host("router"), live.host("far")
    link = Link(live.engine)
    r0 = router.add_softnic("eth0", bytes.fromhex("020000000002"), live.port)
    r1 = router.add_softnic("eth1", bytes.fromhex("020000000003"), link.a)
    h0 = host.add_softnic("eth0", bytes.fromhex("020000000004"), link.b)
    r1.mtu = mtu
    live.up(router, r0, f"{ROUTER}/24")
    live.up(router, r1, "10.77.2.1/24")
    live.up(host, h0, f"{FAR}/24")
    host.ipv4.add_route("default", "10.77.2.1")
    router.kernel.sysctl.write("net.ipv4.ip_forward", "1")
    live.shell(f"ip route add 10.77.2.0/24 via {ROUTER}")
    return router, host


def far6(live: Live, mtu: int) -> tuple[Host, Host]:
    """The same over IPv6."""
    router, host = live.host("router"), live.host("far")
    link = Link(live.engine)
    r0 = router.add_softnic("eth0", bytes.fromhex("020000000002"), live.port)
    r1 = router.add_softnic("eth1", bytes.fromhex("020000000003"), link.a)
    h0 = host.add_softnic("eth0", bytes.fromhex("020000000004"), link.b)
    r1.mtu = mtu
    router.kernel.sysctl.write("net.ipv6.conf.all.forwarding", "1")
    live.up(router, r0, f"{ROUTER6}/64")
    live.up(router, r1, "fd77:2::1/64")
    live.up(host, h0, f"{FAR6}/64")
    host.ipv6.add_route("default", "fd77:2::1")
    live.shell(f"ip -6 route add fd77:2::/64 via {ROUTER6}; sleep 2.5")  # Linux tries its address
    return router, host


def near(live: Live, commands: str = "true") -> tuple[Host, str]:
    """Our host and Linux as its router to a link of 1000 bytes; what runs a command beyond it."""
    host = live.host("near")
    dev = host.add_softnic("eth0", bytes.fromhex("020000000002"), live.port)
    live.up(host, dev, f"{ROUTER}/24")
    host.ipv4.add_route("default", LINUX)
    beyond = subprocess.Popen(["unshare", "-n", "sleep", "120"], stdout=subprocess.DEVNULL)
    atexit.register(beyond.kill)
    enter = f"nsenter -t {beyond.pid} -n "
    time.sleep(0.3)
    printed = live.shell(
        "set -e; ip link add veth0 type veth peer name veth1;"
        f"ip link set veth1 netns {beyond.pid};"
        "ip addr add 10.77.3.1/24 dev veth0; ip link set veth0 up mtu 1000;"
        f"{enter} ip link set lo up; {enter} ip addr add {BEYOND}/24 dev veth1;"
        f"{enter} ip link set veth1 up; {enter} ip route add default via 10.77.3.1;"
        f"echo 1 > /proc/sys/net/ipv4/ip_forward; {commands}"
    )
    print(printed, end="")
    return host, enter


def upload(live: Live, host: Host, enter: str) -> None:
    """Our host sends to a real server beyond the real router."""
    command = [*enter.split(), *client("sink", BEYOND).split()]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert server.stdout is not None
    server.stdout.readline()
    results: list[str] = []

    def send(module: Any) -> None:
        results.append(source(module, BEYOND))

    process = host.process("source", send)
    deadline = time.monotonic() + 60
    live.run_while(lambda: process.exit_status is None and time.monotonic() < deadline)
    server.kill()
    mtu = host.ipv4.route(bytes([10, 77, 3, 2])).mtu
    print("upload", results or process.tracebacks or "unfinished", "mtu", mtu)


def case_ping(live: Live, first: int, last: int, step: int) -> None:
    far(live, 1500)
    for address in (ROUTER, FAR) if step > 1 else (ROUTER,):
        print(live.shell(client("pinger", address, str(first), str(last), str(step))), end="")


def case_traceroute(live: Live) -> None:
    far(live, 1500)
    print(live.shell(f"traceroute -n -q 1 -w 3 {FAR}; traceroute -I -n -q 1 -w 3 {FAR}"))


def case_ping6(live: Live) -> None:
    _, host = far6(live, 1300)
    print(live.shell(f"ping -6 -c 2 -i 0.2 -W 1 -s 1400 {FAR6}; ip -6 route get {FAR6}"))
    for size in (0, 1, 1252, 1253, 1452, 1453, 5000, 20_000, 65_487):
        print(live.shell(f"ping -6 -c 1 -W 2 -s {size} {FAR6} | grep received"), end="")
    print(live.shell(f"traceroute -6 -n -q 1 -w 3 {FAR6}"))
    host.process("sink", lambda module: sink(module, FAR6))
    print("download", live.shell(client("source", FAR6)))


def case_pmtu(live: Live) -> None:
    _, host = far(live, 1000)
    print(live.shell(f"ping -c 2 -i 0.2 -M do -s 1400 {FAR}; ip route get {FAR}"))
    host.process("sink", lambda module: sink(module, FAR))
    print("download", live.shell(client("source", FAR)))


def case_pmtu_of_linux(live: Live) -> None:
    upload(live, *near(live))


def case_black_hole(live: Live) -> None:
    drop = "iptables-legacy -A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP"
    host, enter = near(live, drop)
    host.kernel.sysctl.write("net.ipv4.tcp_mtu_probing", "1")
    upload(live, host, enter)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case")
    parser.add_argument("args", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("live.pcapng"))
    options = parser.parse_args()
    if options.case == "sink":
        sink(socket, options.args[0], lambda: print("listening", flush=True))
    elif options.case == "source":
        print(source(socket, options.args[0]))
    elif options.case == "pinger":
        first, last, step = map(int, options.args[1:])
        print(ping_sizes(options.args[0], range(first, last + 1, step)))
    else:
        live = Live(options.out)
        with live.capture:
            globals()[f"case_{options.case}"](live, *map(int, options.args))


if __name__ == "__main__":
    main()
