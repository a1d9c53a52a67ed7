"""The `mlctl` command, also started as `python -m mlctl`."""

from __future__ import annotations

import os
import sys

from mlctl.errors import Interrupted


def main() -> None:
    """Run the command line; --version and completion do not load it."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # mlctl sends no usage data to anybody
    if sys.argv[1:2] == ["--version"]:
        from mlctl import __version__

        print(f"mlctl {__version__}")
        return
    if sys.argv[1:2] == ["__complete"]:
        from mlctl.cli.completion_values import print_values

        print_values(sys.argv[2:])
        return
    from mlctl.cli.app import run

    exit_process(run(sys.argv[1:]))


def exit_process(code: int) -> None:
    """End the process, and skip the interpreter's clean-up if TensorFlow or MLflow is loaded: it takes a second.

    The clean-up is also skipped after an interrupt: if a KeyboardInterrupt passed through an exec of a string
    (namedtuple, some imports), Python remembers it although it was handled, and would end the process by the signal
    instead of code 130.
    """
    if not {"tensorflow", "mlflow"} & set(sys.modules) and code != Interrupted.exit_code:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader has closed it
            continue
    os._exit(code)


if __name__ == "__main__":
    main()
