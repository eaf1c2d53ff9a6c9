"""Compiler launcher for Verilator's makefiles: compiles each runtime file once for all designs.

make calls `python objcache.py FOLDER c++ ... -o x.o .../verilated.cpp`.  Verilator's own sources
(about five seconds of compiling) do not depend on the design, so the object is kept under the
command line's hash; the design's files are compiled as they come.  Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main(folder: Path, command: list[str]) -> int:
    """Run the compiler, or copy the object it made last time; returns its exit status."""
    source = Path(command[-1])
    if not source.name.startswith("verilated") or "-o" not in command:
        return subprocess.call(command)
    target = command[command.index("-o") + 1]
    facts = [*command, str(source.stat().st_size), str(source.stat().st_mtime_ns)]
    kept = folder / (hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16] + ".o")
    if kept.exists():
        shutil.copyfile(kept, target)
        return 0
    status = subprocess.call(command)
    if status == 0:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{kept.name}.{os.getpid()}"
        shutil.copyfile(target, part)
        part.replace(kept)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
