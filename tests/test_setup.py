"""Set-up: what is installed, as whom, and what the user is told otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wire2app import bootstrap

FAKE_APT = """#!/bin/sh
echo "$@" >> "{log}"
case "$*" in *iverilog*) touch "{folder}/iverilog"; chmod +x "{folder}/iverilog";; esac
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PATH with a compiler and a recording apt-get, but without Icarus; returns the record."""
    folder, log = tmp_path / "bin", tmp_path / "apt.log"
    folder.mkdir()
    for name in ("g++", "make", "env", "sh", "touch", "chmod", "as", "ld"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    (folder / "apt-get").write_text(FAKE_APT.format(log=log, folder=folder))
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "setup.log")
    return log


def test_root_installs_what_is_missing_and_nothing_else(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    bootstrap._distribution_packages("sim")
    assert [line.split() for line in bare.read_text().splitlines()] == [
        "install -y --no-install-recommends -o DPkg::Lock::Timeout=300 iverilog".split()
    ]
    bootstrap._distribution_packages("sim")
    assert len(bare.read_text().splitlines()) == 1


def test_without_root_setup_stops_with_the_line_to_type(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(bootstrap.SetupError) as caught:
        bootstrap._distribution_packages("sim")
    assert str(caught.value).splitlines()[-1].strip() == (
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends iverilog"
    )
    assert not bare.exists()


def test_package_that_does_not_help_is_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (bare.parent / "bin" / "apt-get").write_text("#!/bin/sh\n")
    with pytest.raises(bootstrap.SetupError, match="Still not usable after installing: iverilog"):
        bootstrap._distribution_packages("sim")


def test_old_python_gets_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "MINIMUM", (9, 0))
    assert bootstrap.main("sim") == 2
    assert capsys.readouterr().err.startswith("setup: wire2app needs Python 3.11 or newer, this")


def test_finished_setup_does_nothing(tmp_path: Path) -> None:
    """A stamp newer than its inputs: the script ends at once and the stamp stays as it is."""
    inputs = (bootstrap.ROOT / "pyproject.toml", Path(bootstrap.__file__))
    for source in inputs:
        target = tmp_path / source.relative_to(bootstrap.ROOT)
        target.parent.mkdir(exist_ok=True)
        shutil.copy(source, target)
    stamp = tmp_path / ".venv" / "ready-sim"
    stamp.parent.mkdir()
    stamp.touch()
    script = tmp_path / "wire2app" / "bootstrap.py"
    done = subprocess.run([sys.executable, str(script), "sim"], text=True, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in stamp.parent.iterdir()] == ["ready-sim"]
