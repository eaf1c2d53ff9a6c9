"""`python -m packetdrill SCRIPT...`, for when the command is not installed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from packetdrill.main import run_scripts


def main() -> int:
    parser = argparse.ArgumentParser(prog="packetdrill", description="Run packetdrill scripts.")
    parser.add_argument("scripts", nargs="+", type=Path, help="scripts, or folders of them")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--ipv6", action="store_true", help="run over IPv6")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell every event")
    args = parser.parse_args()
    return run_scripts(args.scripts, args.json, args.ipv6, args.verbose)


if __name__ == "__main__":
    sys.exit(main())
