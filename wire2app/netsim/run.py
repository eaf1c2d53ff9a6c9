"""One seed, from drawing it to the account of what it left."""

from __future__ import annotations

import hashlib
import traceback
from pprint import pformat

from wire2app.netsim.draw import Scenario, draw
from wire2app.netsim.net import SECOND, Net, Stuck
from wire2app.netsim.peers import FORCED, Peer
from wire2app.seeds import Outcome, Sweep

__all__ = ["NETSIM", "run_scenario", "run_seed"]


def run_seed(seed: int) -> Outcome:
    return run_scenario(draw(seed))


def run_scenario(scenario: Scenario) -> Outcome:
    """Whatever goes wrong is in the outcome."""
    forced = [side.end for side in scenario.sides if side.end in FORCED]
    outcome = Outcome(scenario.seed, forced[0] if forced else "complete")
    try:
        _run(scenario, outcome)
    except (Stuck, AssertionError) as error:
        outcome.failure = str(error)
    except Exception:
        outcome.failure = traceback.format_exc()
    return outcome


def _run(scenario: Scenario, outcome: Outcome) -> None:
    net = Net(scenario.seed, scenario.impairment, scenario.hosts, scenario.rate, scenario.delay)
    try:
        _exchange(net, scenario, outcome)
    finally:
        net.power_off()


def _exchange(net: Net, scenario: Scenario, outcome: Outcome) -> None:
    server_side, client_side = scenario.sides
    server = Peer(net.hosts[0], "server", server_side, client_side, scenario.seed)
    client = Peer(net.hosts[1], "client", client_side, server_side, scenario.seed)
    start = net.engine.now
    net.run(
        server.serve(scenario.hosts[0].cpus - 1),
        client.call("10.0.0.1", scenario.hosts[1].cpus - 1),
    )
    outcome.seconds = (net.engine.now - start) / SECOND
    _check_stream(server, client)
    _check_stream(client, server)
    net.finish()
    _count(net, outcome, server.received + client.received)
    for stage, (into, out) in net.balance().items():
        assert into == out, f"{stage}: {into} in, {out} out\n{net.wire.__dict__}"
    given_up = sum(host.kernel.mib["TcpExtTCPAbortOnTimeout"] for host in net.hosts)
    assert not given_up, f"TCP gave up {given_up} times"


def _check_stream(sender: Peer, receiver: Peer) -> None:
    """What was read is what was written: all of it, unless one side cut it short by intent."""
    what = f"{sender.name} to {receiver.name}"
    expected = hashlib.sha256(sender.payload[: receiver.received]).digest()
    assert receiver.digest.digest() == expected, f"{what}: the bytes differ"
    if receiver.side.limit is not None:
        assert receiver.received == receiver.side.limit, f"{what}: {receiver.received} bytes"
    elif sender.side.end not in FORCED:
        assert receiver.received == sender.side.amount, f"{what}: {receiver.received} bytes"
        assert receiver.ended or receiver.side.end != "shutdown", f"{what}: no end"
    elif sender.side.end == "reset":
        assert receiver.errors, f"{what}: the reset was not noticed"


def _count(net: Net, outcome: Outcome, received: int) -> None:
    wire, counts = net.wire, outcome.counts
    counts["bytes"] = received
    counts["frames"] = net.balance()["wire"][0] - wire.duplicated
    for name in ("lost", "duplicated", "reordered", "corrupted"):
        counts[name] = getattr(wire, name)
    for host in net.hosts:
        counts["retransmitted"] += host.kernel.mib["TcpRetransSegs"]
        counts["timeouts"] += host.kernel.mib["TcpExtTCPTimeouts"]
        for reason, number in host.kernel.drops.items():
            counts[f"drop.{reason.value}"] += number


NETSIM = Sweep(
    "netsim",
    run_seed,
    chunk=25,
    endings={
        "complete": "all bytes both ways, both ends",
        "reset": "one side ended with RST (SO_LINGER 0)",
        "unread": "one side closed with data unread",
    },
    describe=lambda seed: pformat(draw(seed), width=96),
)
