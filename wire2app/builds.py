"""Designs and their compiled form, kept by content hash under `build/cache`."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from wire2app.errors import ToolError
from wire2app.nic_params import check_parameters
from wire2app.runners import CACHE, ROOT, VerilatorRunner, check_simulator, make_runner
from wire2app.vvp_events import mend

__all__ = ["BUSES", "CACHE", "ROOT", "Design", "bench_design", "build", "nic_sources"]

DEFINES = re.compile(r"^\s*(?:module|package)\s+(\w+)", re.MULTILINE)
LOG_LINES = 30
KEEP_SECONDS = 7 * 24 * 3600
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)

VERILATOR_FLAGS = ("--assert", "-Wno-fatal", "-Werror-USERERROR", "--output-split", "0")
# With cocotb's simulation loop the clock is Verilog's; with one of ours, the loop is the clock.
VERILATOR_TIMING = ("--timing", "-CFLAGS", "-std=c++20 -fcoroutines")
VERILATOR_CLOCKED = ("--no-timing", "+define+CLOCK_OUTSIDE")
C_FLAGS = (
    *("-std=gnu11", "-Wall", "-Wextra", "-O2"),
    *("-flto", "-fvisibility=hidden", "-shared", "-fPIC"),  # as fast as if it were one file
)
C_ENTRY = {"verilator": "dpi.c", "icarus": "vpi.c"}  # what a simulator calls a library through
LIBRARY = "models.so"
BUSES = ("fast", "pins")  # the default first
FAST_PUBLIC = ("rst", "kick", "parked", "attention", "cycles", "idle", "irq")
TRACE_FLAGS = ("--trace-fst", "--trace-structs")
COVERAGE_FLAGS = ("--coverage-line", "--coverage-toggle")
ICARUS_FLAGS = ("-Wall", "-Wno-timescale")


@dataclass(frozen=True)
class Design:
    """A toplevel module with the files it may need; files it does not reach are left out.

    library: C files that the toplevel calls, with their headers: through `dpi.c` among them under
    Verilator (which links them), through `vpi.c` under Icarus (which loads them).
    public: the toplevel's signals that Python uses, None for all of them; Verilator cannot
    optimise what is public.
    main: the C++ file with Verilator's simulation loop and the clock, None for cocotb's.
    optimize: compile for speed (two seconds longer for the NIC) instead of for a short build.
    """

    toplevel: str
    sources: tuple[Path, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)
    library: tuple[Path, ...] = ()
    public: tuple[str, ...] | None = None
    main: Path | None = None
    optimize: bool = False


def nic_sources() -> tuple[Path, ...]:
    """The NIC's RTL: packages first, then the modules, in a stable order."""
    files = sorted((ROOT / "hdl" / "nic").glob("*.sv"))
    packages = [f for f in files if f.stem.endswith("_pkg")]
    return (*_in_use_order(packages), *(f for f in files if f not in packages))


def bench_design(bus: str = "fast", **parameters: int) -> Design:
    """The NIC on the toplevel of a bus: `hdl/sim/bench_top.sv` or `hdl/sim/fast_top.sv`.

    Raises ToolError for a bus that does not exist.
    """
    if bus not in BUSES:
        raise ToolError(f"Unknown bus {bus!r}: BUS is {' or '.join(BUSES)}.")
    folder = ROOT / "hdl" / "sim"
    sources = (*nic_sources(), *sorted(folder.glob("*.sv")))
    if bus == "fast":
        return Design(
            "fast_top",
            sources,
            parameters,
            library=tuple(sorted((folder / "fast").glob("*.[ch]"))),
            public=FAST_PUBLIC,
            main=folder / "verilator_main.cpp",
            optimize=True,
        )
    return Design("bench_top", sources, parameters, optimize=True)


def _in_use_order(packages: list[Path]) -> list[Path]:
    """A package that imports another one comes after it."""
    texts = {p: COMMENT.sub("", p.read_text()) for p in packages}
    ordered: list[Path] = []

    def place(package: Path) -> None:
        if package in ordered:
            return
        for other in packages:
            if other != package and re.search(rf"\b{other.stem}\b", texts[package]):
                place(other)
        ordered.append(package)

    for package in packages:
        place(package)
    return ordered


def needed_sources(design: Design) -> tuple[Path, ...]:
    """The files the toplevel reaches by instance or package name, in the design's order.

    So an edit elsewhere does not rebuild this design.  Raises ToolError if a file is missing or
    none defines the toplevel.
    """
    for path in design.sources:
        if not path.is_file():
            raise ToolError(f"Source file {path} does not exist.")
    texts = {path: COMMENT.sub("", path.read_text()) for path in design.sources}
    home = {name: path for path, text in texts.items() for name in DEFINES.findall(text)}
    if design.toplevel not in home:
        raise ToolError(f"No source file defines the module {design.toplevel!r}.")
    reached: set[Path] = set()
    todo = [home[design.toplevel]]
    while todo:
        path = todo.pop()
        if path not in reached:
            reached.add(path)
            todo += [home[word] for word in set(re.findall(r"\w+", texts[path])) if word in home]
    return tuple(path for path in design.sources if path in reached)


def build(design: Design, sim: str, *, traced: bool = False) -> Path:
    """The folder of `design` compiled for `sim`, compiled now if it is not in the cache.

    traced: able to record signals to FST.  Parallel callers wait for one compilation.
    Raises ToolError if the design does not compile, or has an illegal parameter.
    """
    check_simulator(sim)
    sources = needed_sources(design)
    folder = CACHE / f"{sim}-{design.toplevel}-{_digest(design, sources, sim, traced)}"
    done = folder / "done"
    if done.exists():
        done.touch()  # in use: not pruned
        return folder
    with _locked(folder):
        if not done.exists():
            check_parameters(sources, design.parameters)
            _compile(design, sources, sim, traced, folder)
            done.touch()
            _prune(folder)
    return folder


def _compile(
    design: Design, sources: tuple[Path, ...], sim: str, traced: bool, folder: Path
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    inputs: list[Path] = list(sources)
    if sim == "verilator":
        flags = VERILATOR_FLAGS + (TRACE_FLAGS if traced else ())
        flags += COVERAGE_FLAGS if coverage_folder() else ()
        flags += VERILATOR_TIMING if design.main is None else VERILATOR_CLOCKED
        public = folder / "public.vlt"
        rules = [
            f'public_flat_rw -module "{design.toplevel}" -var "{name}"'
            for name in (("*",) if design.public is None else design.public)
        ]
        public.write_text("\n".join(["`verilator_config", *rules, ""]))
        inputs.insert(0, public)
    else:
        flags = ICARUS_FLAGS
    runner = make_runner(sim, waves=folder / "wave.fst" if traced else None)
    if isinstance(runner, VerilatorRunner):
        runner.main = design.main
        runner.split = coverage_folder() is not None
        runner.optimize = design.optimize and not runner.split
    log = folder / "build.log"
    if design.library:
        library = _compile_library(design.library, sim, folder)
        flags += ("-LDFLAGS", str(library)) if sim == "verilator" else ()
    runner.build(
        sources=inputs,
        hdl_toplevel=design.toplevel,
        parameters=dict(design.parameters),
        build_args=list(flags),
        build_dir=folder,
        always=True,
        waves=traced,
        timescale=("1ns", "1ps"),
        log_file=str(log),
    )
    if runner.launch.failure:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
        raise ToolError(f"{design.toplevel} does not compile for {sim}, see {log}:\n{tail}")
    if sim == "icarus":
        mend(folder / "sim.vvp")


def coverage_folder() -> Path | None:
    """Where Verilator's runs leave their coverage counts, None if nobody counts."""
    name = os.environ.get("W2A_COVERAGE")
    return Path(name) if name else None


def library_path(design: Design, built: Path) -> Path | None:
    """Where `build` leaves the shared library of a design that has one."""
    return built / LIBRARY if design.library else None


def _compile_library(files: tuple[Path, ...], sim: str, folder: Path) -> Path:
    """A shared library of the C files; Python opens the same library to share its memory."""
    target = folder / LIBRARY
    others = set(C_ENTRY.values()) - {C_ENTRY[sim]}
    sources = [str(path) for path in files if path.suffix == ".c" and path.name not in others]
    command = ["cc", *C_FLAGS, *sources, "-o", str(target)]
    if sim == "icarus":
        asked = subprocess.run(["iverilog-vpi", "--cflags"], capture_output=True, text=True)
        command += [word for word in asked.stdout.split() if word.startswith("-I")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"{files[0].parent} does not compile:\n{done.stderr}")
    return target


def _prune(folder: Path) -> None:
    """Remove builds of the same design that nothing has used for a while."""
    oldest = time.time() - KEEP_SECONDS
    for done in CACHE.glob(f"{folder.name.rpartition('-')[0]}-*/done"):
        if done.stat().st_mtime < oldest:
            shutil.rmtree(done.parent, ignore_errors=True)


def _digest(design: Design, sources: tuple[Path, ...], sim: str, traced: bool) -> str:
    """Names everything the compiled result depends on: text, parameters, flags, this file."""
    digest = hashlib.sha256(_tools_digest(sim).encode())
    covered = coverage_folder() is not None
    facts = (sorted(design.parameters.items()), design.public, design.optimize, traced, covered)
    digest.update(repr(facts).encode())
    for path in (*sources, *design.library, *filter(None, (design.main,))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def _tools_digest(sim: str) -> str:
    """Changes with the simulator's or cocotb's version and with the way we call them."""
    from importlib.metadata import version

    digest = hashlib.sha256(version("cocotb").encode())
    if sim == "verilator":
        digest.update(version("verilator").encode())
    else:
        stat = Path(shutil.which("iverilog") or "").stat()
        digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    for name in ("builds.py", "runners.py", "vvp_events.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that of several workers one compiles and the others wait."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_suffix(".lock"), "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise ToolError(f"Cannot keep builds in {folder.parent}: {error.strerror}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
