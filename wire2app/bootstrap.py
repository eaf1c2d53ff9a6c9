"""Set-up of a fresh machine: distribution packages, `.venv`, Python packages.

make runs this with the system's Python before anything else, hence the standard library only and
no syntax newer than Python 3.8, so that an old Python gets a sentence.  `make` skips it while the
stamp it leaves is newer than itself and pyproject.toml.

    bootstrap.py sim|test    what `make sim` needs, or that and what the tests need
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOG = ROOT / "build" / "setup.log"
MINIMUM = (3, 11)
LEVELS = ("sim", "test")


class SetupError(Exception):
    """What the user has to do, in one or two lines."""


def main(level: str) -> int:
    """Bring the machine to `level` and leave the stamp `.venv/ready-<level>`."""
    LOG.parent.mkdir(exist_ok=True)
    try:
        if sys.version_info < MINIMUM:
            raise SetupError(
                f"wire2app needs Python 3.11 or newer, this is {_version()}: name another one with "
                "`make PYTHON=/path/to/python3`."
            )
        with open(LOG.with_suffix(".lock"), "w") as lock:
            _wait_for(lock)
            if _fresh(level):
                return 0
            _distribution_packages(level)
            _virtual_environment()
            _python_packages(level)
            for done in LEVELS[: LEVELS.index(level) + 1]:
                _stamp(done).touch()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    return 0


def _version() -> str:
    return "{}.{}".format(*sys.version_info)


def _stamp(level: str) -> Path:
    return VENV / f"ready-{level}"


def _fresh(level: str) -> bool:
    """Whether another process has finished the same work while this one waited."""
    if not _stamp(level).exists():
        return False
    inputs = (ROOT / "pyproject.toml", Path(__file__))
    return _stamp(level).stat().st_mtime >= max(path.stat().st_mtime for path in inputs)


def _wait_for(lock: IO[str]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("setup: waiting for another setup of this tree to end", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _missing_packages(level: str) -> list[str]:
    """Debian's names of what is not there, found by use and not by asking dpkg."""
    needs = [
        ("g++", _has_command("g++")),
        ("make", _has_command("make")),
        ("iverilog", _has_command("iverilog")),
        ("liblz4-dev", _has_header("lz4.h")),
        ("zlib1g-dev", _has_header("zlib.h")),
        (f"libpython{_version()}-dev", _has_libpython()),
    ]
    if not _has_module("ensurepip") and not (VENV / "bin" / "pip").exists():
        needs.append((f"python{_version()}-venv", False))
    if level == "test":
        needs += [
            ("tshark", _has_command("tshark")),
            ("curl", _has_command("curl")),
            ("iputils-ping", _has_command("ping")),
            ("iproute2", _has_command("ip")),
            ("iptables", _has_command("iptables-legacy-restore")),
            ("strace", _has_command("strace")),
            ("traceroute", _has_command("traceroute")),
        ]
    return [package for package, present in needs if not present]


def _has_command(name: str) -> bool:
    paths = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return shutil.which(name, path=paths) is not None


def _has_header(name: str) -> bool:
    if not _has_command("g++"):
        return False
    command = ["g++", "-E", "-x", "c++", "-"]
    source = f"#include <{name}>\n"
    return subprocess.run(command, input=source.encode(), capture_output=True).returncode == 0


def _has_module(name: str) -> bool:
    return (
        subprocess.run([sys.executable, "-c", "import " + name], capture_output=True).returncode
        == 0
    )


def _has_libpython() -> bool:
    """Whether the simulator can load this Python as a shared library.

    Debian packs it apart from the interpreter.  Raises SetupError if this Python has none at all.
    """
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if ".so" not in name:
        raise SetupError(
            f"{sys.executable} was built without a shared library, which the simulators need: use "
            "the distribution's with `make PYTHON=/usr/bin/python3`."
        )
    folder = sysconfig.get_config_var("LIBDIR") or ""
    load = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    for path in (os.path.join(folder, name), name):
        if subprocess.run([sys.executable, "-c", load, path], capture_output=True).returncode == 0:
            return True
    return False


def _distribution_packages(level: str) -> None:
    missing = _missing_packages(level)
    if not missing:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends"]
    line = " ".join([*install, *missing])
    if not _has_command("apt-get"):
        raise SetupError("Install with your package manager: " + ", ".join(missing))
    prefix = _root_prefix()
    if prefix is None:
        raise SetupError(
            "These are missing, and installing them needs root. Type:\n"
            "    sudo apt-get update && sudo " + line
        )
    with _Step("Distribution packages: " + " ".join(missing)):
        # A fresh image has no package lists, an old one stale ones.
        wait = ["-o", "DPkg::Lock::Timeout=300"]
        if _run([*prefix, *install, *wait, *missing]) != 0:
            _run([*prefix, "apt-get", "update"])
            if _run([*prefix, *install, *wait, *missing]) != 0:
                raise SetupError(f"apt-get failed, see {LOG}. Try:\n    sudo {line}")
    left = _missing_packages(level)
    if left:
        raise SetupError(f"Still not usable after installing: {', '.join(left)}; see {LOG}.")


def _root_prefix() -> list[str] | None:
    """How to run a command as root: [] as root, sudo without a password, or None: not at all."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    if os.geteuid() == 0:
        return environment
    if (
        _has_command("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    ):
        return ["sudo", "-n", *environment]
    return None


def _virtual_environment() -> None:
    python = VENV / "bin" / "python"
    if python.exists() and _run([str(python), "-m", "pip", "--version"]) == 0:
        return
    with _Step("Virtual environment in .venv"):
        if _run([sys.executable, "-m", "venv", "--clear", str(VENV)]) != 0:
            raise SetupError(f"Could not create .venv, see {LOG}.")


def _python_packages(level: str) -> None:
    target = ".[test]" if level == "test" else "."
    with _Step(f"Python packages: wire2app{target[1:]} and what it needs"):
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        # Editable: the command works on this tree.
        if _run([*pip, "install", "-e", target], cwd=str(ROOT)) != 0:
            raise SetupError(f"pip failed, see the end of {LOG}.")


def _run(command: list[str], cwd: str | None = None) -> int:
    """Run with the text in the log only; the exit status, 127 if there is no such command."""
    with open(LOG, "a") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        try:
            return subprocess.call(
                command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        except FileNotFoundError:
            return 127


class _Step:
    """One progress line, finished with the time it took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        self.started = time.monotonic()
        print(f"setup: {self.what} ...", end="", flush=True)

    def __exit__(self, failed: object, *_: object) -> None:
        print(
            " %s" % ("failed" if failed else "%.0f s" % (time.monotonic() - self.started)),
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in LEVELS:
        sys.exit(f"usage: bootstrap.py {'|'.join(LEVELS)}")
    sys.exit(main(sys.argv[1]))
