"""L10: a service address that exists in no packet, and three Pods behind it."""

from __future__ import annotations

import socket
from collections import Counter
from dataclasses import dataclass

from labs.bench import CLIENT, LabBench, Modules
from labs.charts import Bars
from labs.lab import Lab, Result, param, require, sizes
from pystack.net.netfilter import nat
from pystack.net.netfilter.conn import Conn
from pystack.net.netfilter.nat_packet import Manip

SERVICE = ("10.96.0.1", 80)
PODS = ("10.48.1.7", "10.48.2.7", "10.48.3.7")
POD_PORT = 8080
# What kube-proxy writes in iptables mode, for one service with three endpoints.
RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-ONE - [0:0]
:KUBE-SEP-TWO - [0:0]
:KUBE-SEP-THREE - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SVC-WEB -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-ONE
-A KUBE-SVC-WEB -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-TWO
-A KUBE-SVC-WEB -j KUBE-SEP-THREE
-A KUBE-SEP-ONE -p tcp -m tcp -j DNAT --to-destination 10.48.1.7:8080
-A KUBE-SEP-TWO -p tcp -m tcp -j DNAT --to-destination 10.48.2.7:8080
-A KUBE-SEP-THREE -p tcp -m tcp -j DNAT --to-destination 10.48.3.7:8080
COMMIT
"""


def pod(py: Modules, address: str) -> None:
    """Answers with its own address."""
    with py.socket.create_server((address, POD_PORT), backlog=64) as listener:
        while True:
            conn, _ = listener.accept()
            with conn:
                conn.recv(100)
                conn.sendall(address.encode())


def app(py: Modules, requests: int) -> list[list[str]]:
    """Who the application thinks it talks to, and who answered, for each request."""
    answers = []
    for _ in range(requests):
        try:
            with py.socket.create_connection(SERVICE, 1) as conn:
                conn.settimeout(1)
                conn.sendall(b"who are you?")
                answers.append([conn.getpeername()[0], conn.recv(100).decode()])
        except OSError:
            answers.append(["", ""])
            py.time.sleep(0.1)
    return answers


def no_dnat(bench: LabBench) -> None:
    """What the host sends itself meets no rule: KUBE-SERVICES is not in OUTPUT."""
    bench.patch(KubeProxy, "rules", RULES.replace("-A OUTPUT", "-A PREROUTING"))


def no_reverse(bench: LabBench) -> None:
    """Replies are not translated back: `_translates` of net/netfilter/nat.py refuses them."""
    original = nat._translates

    def translates(conn: Conn, direction: int, manip: Manip) -> bool:
        return not direction and original(conn, direction, manip)

    bench.patch(nat, "_translates", translates)


def one_pod(bench: LabBench) -> None:
    """The statistic match never lets chance decide: probability 0 in both rules."""
    rules = RULES.replace("0.33333333349", "0").replace("0.50000000000", "0")
    bench.patch(KubeProxy, "rules", rules)


@dataclass
class KubeProxy(Lab):
    """kube-proxy: DNAT that no socket ever sees.

    An application on the server's host connects to the ClusterIP 10.96.0.1:80, an address that no
    machine has. The chains that kube-proxy writes send each connection to one of three Pods. What
    to look for: the wire carries only Pod addresses, such as 10.48.2.7:8080; getpeername says
    10.96.0.1 all the same, for conntrack translates the replies back; chance shares the load.
    """

    name = "kube-proxy"
    row = "L10"
    seconds = 4
    icarus = sizes(requests=24)
    verilator = sizes(requests=60)
    rules = RULES
    breaks = (no_dnat, no_reverse, one_pod)

    requests: int = param(120, "connections of the application", 20, 5000)

    def run(self, bench: LabBench) -> Result:
        node, far = bench.server, bench.client
        node.iptables_restore(self.rules)
        node.ipv4.add_route("10.48.0.0/16", CLIENT)
        node.ipv4.add_route("10.96.0.0/12", CLIENT)
        for address in PODS:
            far.ipv4.add_address(bench.peer, f"{address}/32")
            bench.program(far, pod, address)
        bench.run_for(0.001)
        asking = bench.program(node, app, self.requests)
        bench.progress("ask")
        bench.run(asking, limit=self.requests * 2)
        bench.say("The node's NAT table, and what it remembers of three connections.")
        bench.show(node, "conntrack -L -p tcp -d 10.96.0.1", 4)
        on_wire: Counter[str] = Counter()
        for seen in bench.wire.segments():
            for raw in (seen.packet.ip.src, seen.packet.ip.dst):
                on_wire[socket.inet_ntoa(raw)] += 1
        answers = asking.result
        return Result(
            peers=sorted({peer for peer, _ in answers}),
            share=dict(Counter(who for _, who in answers)),
            on_wire=dict(on_wire),
        )

    def check(self, result: Result) -> None:
        share = result.share
        require(not share.get(""), f"{share.get('')} of {self.requests} connections failed.")
        require(SERVICE[0] not in result.on_wire, "the service's address was on the wire.")
        require(result.peers == [SERVICE[0]], f"getpeername said {result.peers}.")
        require(set(share) == set(PODS), f"{len(share)} of {len(PODS)} Pods got connections.")
        low, high = min(share.values()), max(share.values())
        require(high <= 4 * low, f"one Pod got {high} connections, another {low}.")

    def conclude(self, result: Result) -> str:
        share = ", ".join(f"{pod} {count}" for pod, count in sorted(result.share.items()))
        packets = sum(result.on_wire[pod] for pod in PODS)
        return (
            f"{self.requests} connections to {SERVICE[0]}:{SERVICE[1]} were shared among three "
            f"Pods: {share}. All {packets:,} segments on the wire carried a Pod's address and none "
            f"the service's, and each getpeername said {SERVICE[0]}."
        )

    def chart(self, result: Result) -> Bars:
        counts = [result.share.get(pod, 0) for pod in PODS]
        mean = {"a third": self.requests / len(PODS)}
        title = f"{self.requests} connections to 10.96.0.1:80"
        return Bars(title, "connections", PODS, {"answered": counts}, mean)
