"""The command line: ``python -m fer_helpers check``."""

import argparse
import sys

from fer_helpers.check import check


def main() -> int:
    """Run the chosen command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fer_helpers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="say what is ready and what is missing, with the remedy")
    parser.parse_args()
    return 0 if check() else 1


if __name__ == "__main__":
    sys.exit(main())
