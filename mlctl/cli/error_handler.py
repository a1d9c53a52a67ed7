"""Turns every failure of a command into an error message, a hint and an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from mlctl.domain.short_texts import describe_error
from mlctl.errors import Interrupted, MlctlError, RefusedError, UnreachableError, UsageError


def run_command(command: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> int:
    """Call `command` with the arguments, print its error to stderr if it fails, and return the exit code.

    This reads `--debug` and `-o json` from the raw arguments, because they also apply to errors of the parser.
    """
    code = 0
    try:
        with contextlib.suppress(ValueError):  # only the main thread can set a signal handler
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as for Ctrl-C
        try:
            command(arguments)
        except typer.Exit as exit_request:
            code = exit_request.exit_code
        sys.stdout.flush()
    except SystemExit as exit_request:
        if isinstance(exit_request.__context__, BrokenPipeError):  # rich raises this if it cannot write help
            return 0
        raise
    except BrokenPipeError as error:
        if not _stdout_is_closed():
            return _report(
                UnreachableError(f"the other side closed the connection: {error}", "try again"), arguments
            )
        _discard_stdout()  # the reader, such as head or less, has read enough
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return _report(Interrupted("interrupted"), arguments)
    except MlctlError as error:
        return _report(error, arguments)
    except typer.TyperException as error:
        if not error.format_message():  # a group without a command: Typer has shown its help
            return 0
        return _report(_to_usage_error(error), arguments)
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        return _report(_to_refusal(error), arguments)
    except OSError as error:
        if error.filename is None and error.errno is None:
            return _report_bug(error, arguments)
        refused = RefusedError(f"the system call failed: {error}", "free disk space or choose another path")
        code = _report(refused, arguments)
        _discard_stdout()
    except Exception as error:
        return _report_bug(error, arguments)
    return code


def _to_refusal(error: OSError) -> RefusedError:
    """Return the error of a path that may not be read or written, or that is a folder instead of a file."""
    path = Path(os.fsdecode(error.filename)) if error.filename else None
    if path is None:
        return RefusedError(str(error), "check the owner and the type of the path")
    if isinstance(error, IsADirectoryError):
        return RefusedError(f"{path} is a folder, not a file", "name a file")
    if isinstance(error, NotADirectoryError):
        return RefusedError(f"a part of {path} is a file, not a folder", "name another path")
    folder = next((parent for parent in path.absolute().parents if parent.exists()), path)
    if path.exists() or os.access(folder, os.W_OK):
        return RefusedError(f"you may not read or write {path}", "check its owner and its permissions")
    return RefusedError(
        f"the folder {folder} is not writable", "choose another folder, or change its permissions"
    )


def _stdout_is_closed() -> bool:
    """Return whether the reader of stdout is gone; if not, another connection broke."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_stdout() -> None:
    """Discard unwritten output, so that the interpreter's last flush does not fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_usage_error(error: typer.TyperException) -> MlctlError:
    context = getattr(error, "ctx", None)
    help_command = f"{context.command_path} --help" if context else "mlctl --help"
    message = " ".join(error.format_message().split()).replace("Value error, ", "")
    message = message.replace("Input should be", "it must be").partition(", unable to parse")[0]
    message = message[:1].lower() + message[1:]
    for mark in ("Did you mean ", "(Possible options: "):  # Typer appends its suggestion to the message
        problem, found, suggestion = message.partition(mark)
        if found:
            return UsageError(problem.rstrip(" ."), f"did you mean {suggestion.rstrip('?)')}?")
    return UsageError(message.rstrip("."), f"see {help_command}")


def _report_bug(error: Exception, arguments: Sequence[str]) -> int:
    return _report(
        MlctlError(
            f"unexpected error: {describe_error(error)}", "run the command again with --debug to see where"
        ),
        arguments,
    )


def _report(error: MlctlError, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    if _wants_json(arguments):
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": body}, ensure_ascii=False), file=sys.stderr)
        return error.exit_code
    from mlctl.output import print_error

    print_error(error.message, error.hint, is_interrupt=isinstance(error, Interrupted))
    return error.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    line = " " + " ".join(arguments) + " "
    return any(f" {form} " in line for form in ("-o json", "-ojson", "--output json", "--output=json"))
