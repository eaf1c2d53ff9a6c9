"""Many seeded runs on several processes, and what becomes of those whose worker dies."""

from __future__ import annotations

import os

from wire2app.seeds import Outcome, run_seeds

DEADLY = 33


def run(seed: int) -> Outcome:
    if seed == DEADLY:
        os._exit(3)
    return Outcome(seed, "complete")


def test_a_worker_that_dies_fails_the_seeds_given_out_and_no_others() -> None:
    outcomes = list(run_seeds(run, range(100), jobs=2, chunk=5))
    assert sorted(outcome.seed for outcome in outcomes) == list(range(100))
    failed = {outcome.seed for outcome in outcomes if outcome.failure}
    assert DEADLY in failed and len(failed) <= 20
    assert all("worker ended" in outcome.failure for outcome in outcomes if outcome.failure)
