"""Where every failure ends: one line that says what is wrong, one that says what to do, an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from mlctl.errors import Interrupted, MlctlError, RefusedError, UnreachableError, UsageError


def guarded(command: Callable[[], object], arguments: Sequence[str]) -> int:
    """Run `command` and return the exit code, having told whatever went wrong on stderr.

    `--debug` and `-o json` are looked up in the raw arguments, because they count for mistakes that are
    found before the arguments are parsed.
    """
    code = 0
    try:
        with contextlib.suppress(ValueError):  # not in the main thread
            if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
                signal.signal(signal.SIGTERM, signal.default_int_handler)  # a kill cleans up as Ctrl-C does
        try:
            command()
        except typer.Exit as left:
            code = left.exit_code
        sys.stdout.flush()
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):  # what rich makes of it where Typer shows help
            return 0
        raise
    except BrokenPipeError as error:
        if not _reader_left():
            return _tell(UnreachableError(f"the other side hung up: {error}", "try again"), arguments)
        _forget_stdout()  # the reader (head, less) has what it wanted
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return _tell(Interrupted("interrupted"), arguments)
    except MlctlError as error:
        return _tell(error, arguments)
    except typer.TyperException as error:
        if not error.format_message():  # a group without its command: Typer has shown the help instead
            return 0
        return _tell(_as_usage_error(error), arguments)
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        return _tell(RefusedError(str(error), "look at who owns it and what it is"), arguments)
    except OSError as error:
        if error.filename is None and error.errno is None:
            return _tell_bug(error, arguments)
        refused = RefusedError(f"the system refused: {error}", "free space, or choose another place")
        code = _tell(refused, arguments)
        _forget_stdout()
    except Exception as error:
        return _tell_bug(error, arguments)
    return code


def _reader_left() -> bool:
    """Tell whether it is stdout's reader that is gone, and not the other side of some connection."""
    look = select.poll()
    look.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0))


def _forget_stdout() -> None:
    """Let what is still unwritten go, so that the interpreter's own last flush does not complain."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_usage_error(error: typer.TyperException) -> MlctlError:
    context = getattr(error, "ctx", None)
    help_line = f"{context.command_path} --help" if context else "mlctl --help"
    message = " ".join(error.format_message().split()).replace("Value error, ", "")
    for mark in ("Did you mean ", "(Possible options: "):  # Typer puts its suggestion into the same sentence
        head, found, tail = message.partition(mark)
        if found:
            return UsageError(head.rstrip(" ."), f"did you mean {tail.rstrip('?)')}?")
    return UsageError(message.rstrip("."), f"see {help_line}")


def _tell_bug(error: Exception, arguments: Sequence[str]) -> int:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    shown = text if len(text) <= 300 else text[:299] + "…"
    bug = MlctlError(f"this should not happen: {shown}", "the same with --debug shows where")
    return _tell(bug, arguments)


def _tell(error: MlctlError, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    if _wants_json(arguments):
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": body}, ensure_ascii=False), file=sys.stderr)
        return error.exit_code
    from mlctl.output import print_error

    print_error(error.message, error.hint)
    return error.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    joined = " " + " ".join(arguments) + " "
    return any(f" {form} " in joined for form in ("-o json", "-ojson", "--output json", "--output=json"))
