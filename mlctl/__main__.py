"""`python -m mlctl` and the `mlctl` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; a shell's question for completions never starts it."""
    if sys.argv[1:2] == ["--version"]:
        from mlctl import __version__

        print(f"mlctl {__version__}")
        return
    if sys.argv[1:2] == ["__complete"]:
        from mlctl.cli.complete import answer

        answer(sys.argv[2:])
        return
    from mlctl.cli.app import run

    code = run(sys.argv[1:])
    if "tensorflow" in sys.modules:  # taking it down properly costs a second, and nothing is left to lose
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
