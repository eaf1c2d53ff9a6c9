"""One seed of the fuzzer: a fresh host, some thousand frames, and the account of what they left."""

from __future__ import annotations

import traceback

from wire2app.fuzz.target import Target
from wire2app.seeds import Outcome, Sweep

__all__ = ["FUZZ", "run_seed"]

FRAMES = 5000  # a seed


def run_seed(seed: int, frames: int = FRAMES) -> Outcome:
    """Whatever goes wrong is in the outcome; `counts` has the frames and the drops by reason."""
    outcome = Outcome(seed, "complete")
    try:
        _run(seed, frames, outcome)
    except Exception:
        outcome.failure = traceback.format_exc()
    return outcome


def _run(seed: int, frames: int, outcome: Outcome) -> None:
    target = Target(seed)
    try:
        _fire(target, frames, outcome)
    finally:
        target.power_off()


def _fire(target: Target, frames: int, outcome: Outcome) -> None:
    target.fire(frames)
    target.settle()
    kernel = target.host.kernel
    outcome.counts.update({"frames": target.port.injected, "real frames": target.port.sent})
    for reason, number in kernel.drops.items():
        outcome.counts[f"drop.{reason.value}"] += number
    for name in ("TcpEstabResets", "TcpPassiveOpens", "UdpInDatagrams", "IpForwDatagrams"):
        outcome.counts[name] += kernel.mib[name]
    errors, left, (sent, came) = target.errors(), target.left(), target.balance()
    if errors:
        outcome.failure = errors[0]
    elif left:
        outcome.failure = f"left: {left}"
    elif sent != came:
        outcome.failure = f"{sent} frames were on the wire, {came} came in or were dropped"


FUZZ = Sweep(
    "fuzz",
    run_seed,
    chunk=2,
    endings={"complete": f"{FRAMES:,} frames, nothing left of them"},
)
