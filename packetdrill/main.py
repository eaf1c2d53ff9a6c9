"""Run scripts and report: what `wire2app packetdrill` does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from packetdrill import report
from packetdrill.runner import Result, run_file

EXIT_FAIL, EXIT_UNSUPPORTED = 1, 2


def find_scripts(paths: Iterable[Path]) -> list[Path]:
    """Files as they are, folders with every `.pkt` below them, sorted."""
    found: list[Path] = []
    for path in paths:
        found.extend(sorted(path.rglob("*.pkt")) if path.is_dir() else [path])
    return found


def run_each(paths: Sequence[Path], ipv6: bool) -> Iterator[Result]:
    """One after the other in virtual time, each on a host of its own."""
    return (run_file(path, ipv6) for path in paths)


Run = Callable[[Sequence[Path], bool], Iterable[Result]]


def run_scripts(
    paths: Sequence[Path | str],
    json: Path | None = None,
    ipv6: bool = False,
    verbose: bool = False,
    console: Console | None = None,
    run: Run = run_each,
) -> int:
    """Run every script; 0 if all passed, 1 if one failed, 2 if one could only not be run.

    `run` does the running.  `json` gets the results as a list of objects.  Several scripts end with
    tables by folder and by cause.  The report goes to `console`, standard output by default.
    """
    console = console or Console(highlight=False, soft_wrap=True)
    results: list[Result] = []
    for result in run(find_scripts(Path(path) for path in paths), ipv6):
        results.append(result)
        report.print_result(console, result, verbose)
    if not results:
        console.print("no scripts")
        return EXIT_FAIL
    if len(results) > 1:
        console.print(report.folder_table(results))
        console.print(report.cause_table(results))
    if json is not None:
        report.write_json(Path(json), results)
    outcomes = Counter(result.status for result in results)
    if outcomes["fail"]:
        return EXIT_FAIL
    return EXIT_UNSUPPORTED if outcomes["unsupported"] else 0
