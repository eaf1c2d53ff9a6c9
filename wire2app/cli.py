"""Arguments of the command `wire2app`.  Each option can also come from the environment variable
that the make target of the same name uses.  What a subcommand does is in a module of its own.

Exit status: 0 done, 1 something ran and failed, 2 the request or the machine is at fault.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wire2app.errors import Interrupted, ToolError
from wire2app.examples import epilog, panel
from wire2app.options import LAB, SUITE, Bus, Out, Seed, Sim

__all__ = ["app", "main", "run_command"]

PIPE_WIDTH = 100
RICH = sys.stdout.isatty()  # help for a pipe is plain

app = typer.Typer(
    name="wire2app",
    help="A NIC in RTL, a kernel in Python: follow a byte from the wire to recv().",
    no_args_is_help=True,
    rich_markup_mode="rich" if RICH else None,
    context_settings={} if RICH else {"terminal_width": PIPE_WIDTH},
    pretty_exceptions_enable=False,
)


@app.command()
def sim(
    sim: Sim = "verilator",
    seed: Seed = 1,
    file: Annotated[
        Path | None, typer.Option(envvar="FILE", help="file to fetch; 256 KiB of noise if none")
    ] = None,
    waves: Annotated[bool, typer.Option(envvar="WAVES", help="record every signal")] = False,
    bus: Bus = "fast",
    out: Out = None,
    json: Annotated[bool, typer.Option("--json", help="print the summary as JSON")] = False,
) -> int:
    """Fetch, list and post over HTTP through the RTL NIC, and report every hop."""
    from wire2app.sim import OUT, SimOptions, run_sim

    folder = (out or OUT).resolve()
    return run_sim(SimOptions(sim, seed, file, waves, bus, folder, json))


@app.command()
def live(
    sim: Sim = "verilator",
    seed: Seed = 1,
    file: Annotated[
        Path | None,
        typer.Option(envvar="FILE", help="serve this file's folder, not the current one"),
    ] = None,
    run: Annotated[
        str, typer.Option(envvar="RUN", help="shell command to run against the host, then stop")
    ] = "",
    waves: Annotated[bool, typer.Option(envvar="WAVES", help="record every signal")] = False,
    bus: Bus = "fast",
    out: Out = None,
) -> int:
    """Put the simulated host at 10.77.0.2 of a network of its own, for real programs."""
    from wire2app.live import OUT, LiveOptions, run_live

    folder = (out or OUT).resolve()
    return run_live(LiveOptions(sim, seed, file, run, waves, bus, folder))


@app.command()
def waves() -> int:
    """Open the last run's signals in GTKWave, recording them first if they were not."""
    from wire2app.waves import open_waves

    return open_waves()


@app.command()
def test(
    suite: Annotated[
        str,
        SUITE,
    ] = "all",
    sim: Annotated[str, typer.Option(envvar="SIM", help="verilator, icarus or both")] = "both",
    seed: Seed = 1,
    only: Annotated[str, typer.Option("-k", envvar="T", help="tests with this in the name")] = "",
) -> int:
    """Run tests and write build/test/junit.xml."""
    from wire2app.suite import run_tests

    return run_tests(suite, sim=sim, seed=seed, only=only)


@app.command()
def packetdrill(
    scripts: Annotated[
        list[Path] | None,
        typer.Argument(envvar="SCRIPTS", help="scripts, or folders of them; ours if none"),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="write the results to this file")] = None,
    ipv6: Annotated[bool, typer.Option("--ipv6", help="run over IPv6")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="tell every event")] = False,
    rtl: Annotated[bool, typer.Option("--rtl", envvar="RTL", help="with the RTL NIC")] = False,
    sim: Sim = "verilator",
    bus: Bus = "fast",
    seed: Seed = 1,
) -> int:
    """Run packetdrill scripts against the kernel; 2 if one asks for what it does not have."""
    from wire2app.packetdrill import OverRtl, run_packetdrill

    over = OverRtl(sim, bus, seed) if rtl else None
    return run_packetdrill(scripts or (), json, ipv6, verbose, over)


@app.command()
def netsim(
    seeds: Annotated[int, typer.Option(envvar="SEEDS", min=1, help="runs")] = 1000,
    first: Annotated[int, typer.Option(envvar="FIRST", min=0, help="the first run's seed")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    json: Annotated[Path | None, typer.Option(help="write each run's outcome here")] = None,
) -> int:
    """Two hosts on a bad wire, drawn from seeds: nothing lost, nothing hung, nothing left."""
    from wire2app.netsim import NETSIM
    from wire2app.seeds import Options

    return NETSIM(Options(seeds, first, jobs, json))


@app.command()
def fuzz(
    seeds: Annotated[int, typer.Option(envvar="SEEDS", min=1, help="runs of 5,000 frames")] = 100,
    first: Annotated[int, typer.Option(envvar="FIRST", min=0, help="the first run's seed")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    json: Annotated[Path | None, typer.Option(help="write each run's outcome here")] = None,
) -> int:
    """Throw frames nobody would send at a host: no crash, no leak, every frame accounted for."""
    from wire2app.fuzz import FUZZ
    from wire2app.seeds import Options

    return FUZZ(Options(seeds, first, jobs, json))


@app.command(context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[
        list[str] | None, typer.Argument(help="A.py [ARG...] [-- B.py [ARG...]]")
    ] = None,
    rtl: Annotated[bool, typer.Option("--rtl", envvar="RTL", help="A has the RTL NIC")] = False,
    sim: Sim = "verilator",
    bus: Bus = "fast",
    seed: Seed = 1,
    strace: Annotated[bool, typer.Option("--strace", help="show every system call")] = False,
    expression: Annotated[
        str, typer.Option("-e", help="only these, as strace's: trace=network, or names")
    ] = "",
    times: Annotated[
        int, typer.Option("-t", count=True, help="strace with the time; -tt, -ttt finer")
    ] = 0,
    relative: Annotated[bool, typer.Option("-r", help="strace with time since the last")] = False,
    durations: Annotated[bool, typer.Option("-T", help="strace with time spent")] = False,
    pcap: Annotated[Path | None, typer.Option(help="write every frame to this file")] = None,
) -> int:
    """Run Python programs: A on host 10.0.0.1, B on 10.0.0.2, one link between them."""
    from pystack.tools.strace import Options
    from wire2app.run import Rtl, RunOptions, commands_of, run_programs

    traced = strace or expression or times or relative or durations
    options = Options(True, expression or "trace=all", times, relative, durations)
    return run_programs(
        RunOptions(
            commands_of(command or []),
            seed,
            Rtl(sim, bus) if rtl else None,
            options if traced else None,
            pcap,
        )
    )


@app.command()
def lab(
    name: Annotated[str, LAB] = "",
    rtl: Annotated[bool, typer.Option("--rtl/--no-rtl", envvar="RTL", help="with the NIC")] = True,
    sim: Sim = "verilator",
    bus: Bus = "fast",
    seed: Seed = 1,
    param: Annotated[
        list[str] | None, typer.Option(envvar="PARAM", help='other numbers: "syns=9000 clients=9"')
    ] = None,
    broken: Annotated[
        str, typer.Option("--break", metavar="NAME", help="switch the mechanism off: must fail")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="print what was found as JSON")] = False,
    write_docs: Annotated[
        bool, typer.Option("--write-docs", help="write the page in docs/labs from this run")
    ] = False,
) -> int:
    """Run an experiment, say what to look for and what was shown; 1 if it did not show."""
    from wire2app.lab import LabOptions, list_labs, run_lab

    if not name:
        return list_labs(json)
    parameters = tuple(param or ())
    where = sim if rtl else None
    return run_lab(LabOptions(name, where, bus, seed, parameters, broken, json, write_docs))


@app.command()
def shell(
    command: Annotated[
        list[str] | None, typer.Option("-c", help="carry this out instead of asking; repeatable")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="of the host that `live` runs")] = False,
    out: Annotated[Path | None, typer.Option(help="folder of that live run")] = None,
    seed: Seed = 1,
) -> int:
    """Ask ss, tcpdump, ip and the like of two running hosts: a server and its clients."""
    from wire2app.shell.run import LIVE, ShellOptions, run_shell

    folder = (out or LIVE) if live else None
    return run_shell(ShellOptions(seed, tuple(command or ()), folder))


@app.command()
def bench(
    sections: Annotated[
        list[str] | None,
        typer.Argument(envvar="SECTION", help="what to measure; everything if none is named"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="fewer and shorter runs")] = False,
    seed: Seed = 1,
) -> int:
    """Measure how fast it is and write build/bench/results.json."""
    from wire2app.bench import BenchOptions, run_bench

    return run_bench(BenchOptions(sections or (), quick, json, seed))


@app.command()
def synth(
    module: Annotated[str, typer.Argument(help="one module by itself; the NIC if none")] = "",
    parameters: Annotated[
        list[str] | None, typer.Option("-p", help="of that module, as Name=number")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="ECP5 only, nothing placed")] = False,
    json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
    seed: Seed = 1,
    seeds: Annotated[
        int, typer.Option(min=1, help="place so many times, from that seed on; the best counts")
    ] = 1,
) -> int:
    """Synthesize the NIC: cells by module, clock, longest paths; 1 if it is over its budget."""
    from wire2app.synth import SynthOptions, run_synth

    return run_synth(SynthOptions(module, parameters or (), quick, json, seed, seeds))


@app.command()
def coverage(
    tests: Annotated[
        list[str] | None, typer.Argument(help="files of tests; all of the RTL if none is named")
    ] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse", help="show the last run's, run nothing")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="print the figures as JSON")] = False,
    seed: Seed = 1,
) -> int:
    """Count which lines, bits and kinds of traffic of the NIC its tests reach."""
    from wire2app.coverage import CoverageOptions, run_coverage

    return run_coverage(CoverageOptions(tests or (), reuse, json, seed))


@app.command()
def mutate(
    count: Annotated[int, typer.Option(envvar="COUNT", min=1, help="how many are drawn")] = 300,
    seed: Seed = 1,
    jobs: Annotated[int, typer.Option(min=1, help="at a time")] = 2,
    module: Annotated[str, typer.Option(envvar="MODULE", help="of this module only")] = "",
    retry: Annotated[bool, typer.Option("--retry", help="try survivors again")] = False,
    list_only: Annotated[bool, typer.Option("--list", help="show them, run nothing")] = False,
    json: Annotated[bool, typer.Option("--json", help="print the results as JSON")] = False,
) -> int:
    """Change one thing at a time in the RTL and see whether a test notices."""
    from wire2app.mutate import MutateOptions, run_mutate

    return run_mutate(MutateOptions(count, seed, jobs, module, retry, list_only, json))


@app.command()
def regress() -> int:
    """Everything that takes long: all lengths at line rate, all proofs, placement."""
    from wire2app.suite import run_regress

    return run_regress()


@app.command()
def formal(
    modules: Annotated[
        list[str] | None, typer.Argument(help="the proofs of these modules; all if none")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="only proofs that take seconds")] = False,
    json: Annotated[bool, typer.Option("--json", help="print the results as JSON")] = False,
) -> int:
    """Prove the RTL's properties: each holds, is not empty, and sees a deliberate mistake."""
    from wire2app.formal import FormalOptions, run_formal

    return run_formal(FormalOptions(modules or (), quick, json))


@app.command()
def lint() -> int:
    """Check format, types and style of the Python and the RTL."""
    from wire2app.lint import run_lint

    return run_lint()


@app.command()
def regs(
    check: Annotated[bool, typer.Option("--check", help="only say what is out of date")] = False,
) -> int:
    """Write what is generated from hdl/nic.rdl."""
    from wire2app import regs as generator

    stale = generator.drift()
    for path in stale:
        print(f"{path.relative_to(generator.ROOT)} {'is out of date' if check else 'written'}")
    if not check:
        generator.write()
    return 1 if check and stale else 0


for _info in app.registered_commands:
    _name = str(_info.name or getattr(_info.callback, "__name__", ""))
    _info.epilog = epilog(_name, RICH)
    _info.rich_help_panel = panel(_name)


def run_command(arguments: Sequence[str]) -> int:
    """Carry out a command line; errors of the user become one sentence on stderr."""
    try:
        return app(arguments, prog_name="wire2app", standalone_mode=False) or 0
    except typer.TyperException as error:
        message, status = error.format_message().rstrip("."), error.exit_code
        print(f"wire2app: {message}; `wire2app --help` explains.", file=sys.stderr)
        return status
    except ToolError as error:
        print(f"wire2app: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Interrupted):
        print("wire2app: interrupted", file=sys.stderr)
        return 130


def main() -> None:
    """Entry point of the installed script.  A closed terminal ends what runs, as Ctrl-C does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(run_command(sys.argv[1:]))
