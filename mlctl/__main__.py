"""`python -m mlctl` and the `mlctl` command."""

from __future__ import annotations

import os
import sys

from mlctl.errors import Interrupted


def main() -> None:
    """Run the command line; a shell's question for completions never starts it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody is told what runs here
    if sys.argv[1:2] == ["--version"]:
        from mlctl import __version__

        print(f"mlctl {__version__}")
        return
    if sys.argv[1:2] == ["__complete"]:
        from mlctl.cli.complete import answer

        answer(sys.argv[2:])
        return
    from mlctl.cli.app import run

    leave(run(sys.argv[1:]))


def leave(code: int) -> None:
    """End the process; where TensorFlow was loaded, without the second that taking it apart costs.

    A KeyboardInterrupt that passed through an exec of a string (namedtuple, some imports) is remembered by
    Python though it was handled, and an ordinary exit would then end with the signal instead of 130.
    """
    if "tensorflow" not in sys.modules and code != Interrupted.exit_code:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # its reader has left
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
