"""Where every failure ends: one line that says what is wrong, one that says what to do, an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence

import typer

from mlctl.errors import Interrupted, MlctlError, RefusedError, UsageError


def guarded(command: Callable[[], object], arguments: Sequence[str]) -> int:
    """Run `command` and return the exit code, having told whatever went wrong on stderr.

    `--debug` and `-o json` are looked up in the raw arguments, because they count for mistakes that are
    found before the arguments are parsed.
    """
    try:
        result = command()
        code = result if isinstance(result, int) else 0  # typer.Exit comes back as its code
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader (head, less) has what it wanted; the interpreter's own last flush must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
        return _tell(
            RefusedError(f"the system refused: {error}", "free space, or choose another place"), arguments
        )
    except Exception as error:
        return _tell_bug(error, arguments)
    return code


def _as_usage_error(error: typer.TyperException) -> MlctlError:
    context = getattr(error, "ctx", None)
    help_line = f"{context.command_path} --help" if context else "mlctl --help"
    message = error.format_message().strip()
    # Typer puts its suggestion into the same sentence
    head, mark, tail = message.partition("Did you mean")
    if mark:
        return UsageError(head.strip().rstrip("."), f"did you mean{tail}")
    return UsageError(" ".join(message.split()).rstrip("."), f"see {help_line}")


def _tell_bug(error: Exception, arguments: Sequence[str]) -> int:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    shown = text if len(text) <= 300 else text[:299] + "…"
    return _tell(
        MlctlError(f"this should not happen: {shown}", "the same with --debug shows where"), arguments
    )


def _tell(error: MlctlError, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        traceback.print_exc()
    if _wants_json(arguments):
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps({"error": body}, ensure_ascii=False), file=sys.stderr)
        return error.exit_code
    from mlctl.output import complain

    complain(error.message, error.hint)
    return error.exit_code


def _wants_json(arguments: Sequence[str]) -> bool:
    joined = " " + " ".join(arguments) + " "
    return any(f" {form} " in joined for form in ("-o json", "-ojson", "--output json", "--output=json"))
