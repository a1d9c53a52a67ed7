"""Run a user's file or module as `__main__`, as `python FILE` and `python -m MODULE` do, in this process."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import importlib.util
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlctl.errors import BadDataError, NotFoundError

# while these are imported, garbage collection is off: they create half a million objects, which each collection traverses
HEAVY_PACKAGES = frozenset({"tensorflow", "keras", "mlflow", "sklearn", "pandas", "keras_tuner"})

POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Program:
    """What is run as `__main__`.

    Attributes:
        file: Its file.
        import_folder: The folder that is first in sys.path.
        spec: The module's import spec; None for a file.
    """

    file: Path
    import_folder: Path
    spec: Any = None

    def code(self) -> CodeType:
        """Return the compiled program; raise BadDataError with the line of a syntax error."""
        try:
            if self.spec is not None:
                code: CodeType = self.spec.loader.get_code(self.spec.name)
                return code
            return compile(self.file.read_bytes(), str(self.file), "exec", dont_inherit=True)
        except SyntaxError as error:
            raise BadDataError(
                f"{error.filename}, line {error.lineno}: {error.msg}", "fix the script"
            ) from error
        except ValueError as error:  # such as null bytes
            raise BadDataError(f"{self.file} is no Python file: {error}", "give a Python file") from error


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a program ended: its exit code, and the exception that ended it."""

    code: int = 0
    error: BaseException | None = None
    message: str = ""  # of sys.exit("…")


def find_program(script: str, module: str) -> Program:
    """Return a file, or a module of the working directory or an installed package; raise NotFoundError."""
    if script:
        path = Path(script)
        if path.is_dir():
            path = path / "__main__.py"
        if not path.is_file():
            raise NotFoundError(f"there is no file {script}", "give the path of a Python file")
        return Program(file=path, import_folder=path.resolve().parent)
    with _import_path(Path.cwd()):
        try:
            spec = importlib.util.find_spec(module)
            if spec is not None and spec.submodule_search_locations is not None:
                spec = importlib.util.find_spec(f"{module}.__main__")
        except (ImportError, ValueError, AttributeError) as error:
            raise NotFoundError(f"there is no module {module}: {error}", "check its name") from error
    if spec is None or spec.origin is None or not hasattr(spec.loader, "get_code"):
        raise NotFoundError(
            f"there is no module {module} that can be run",
            "start mlctl in the folder that has the package, as for python -m",
        )
    return Program(file=Path(spec.origin), import_folder=Path.cwd(), spec=spec)


def run(program: Program, arguments: Sequence[str]) -> Outcome:
    """Run a program to its end, with the threads that it has started and the functions that it has registered.

    What it prints goes to stderr. `__main__` stays the program's module afterwards, so that its classes can be saved.
    A KeyboardInterrupt is raised.
    """
    code = program.code()
    main = ModuleType("__main__")
    vars(main).update(
        __file__=str(program.file),
        __builtins__=builtins,
        __spec__=program.spec,
        __loader__=getattr(program.spec, "loader", None),
        __package__=program.spec.parent if program.spec is not None else None,
    )
    sys.modules["__main__"] = main
    sys.argv = [str(program.file), *arguments]
    sys.path[0] = str(program.import_folder)
    sys.stderr.flush()  # a spinner ends here: from now on the program writes to the terminal
    with _stdout_to_stderr(), _fast_imports(), _own_exit_functions():
        try:
            exec(code, vars(main))  # noqa: S102 - it is the user's own program
        except KeyboardInterrupt:
            raise
        except SystemExit as error:
            return _exited(error)
        except BaseException as error:
            return Outcome(code=1, error=error)
        finally:
            _flush()
            _join_threads()
    return Outcome()


def traceback_text(error: BaseException, program: Program) -> str:
    """Return the traceback of an exception as Python prints it, without the frames of mlctl."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != str(program.file):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _exited(error: SystemExit) -> Outcome:
    if error.code is None or isinstance(error.code, int):
        return Outcome(code=error.code or 0, error=error if error.code else None)
    print(error.code, file=sys.stderr)
    return Outcome(code=1, error=error, message=str(error.code))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _join_threads() -> None:
    """Wait for the program's threads, as Python does at its end.

    Workers of thread pools wait for more work until the interpreter ends: only what they have to do is waited for. MLflow
    keeps such pools.
    """
    pools = getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", {})
    for thread in threading.enumerate():
        if thread is threading.main_thread() or thread.daemon:
            continue
        if thread not in pools:
            thread.join()
            continue
        while thread.is_alive() and not pools[thread].empty():
            time.sleep(POLL_S)


@contextlib.contextmanager
def _import_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what the block and its child processes print to stderr, line by line: stdout carries mlctl's answer only."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # such as in a notebook or under pytest
        with contextlib.redirect_stdout(sys.stderr):
            yield
        return
    sys.stdout.flush()
    saved = os.dup(descriptor)
    os.dup2(2, descriptor)
    was_buffered = not sys.stdout.line_buffering
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        yield
    finally:
        _flush()
        os.dup2(saved, descriptor)
        os.close(saved)
        if was_buffered:
            sys.stdout.reconfigure(line_buffering=False)  # type: ignore[union-attr]


@contextlib.contextmanager
def _own_exit_functions() -> Iterator[None]:
    """Call the functions that the block registers with atexit when it ends: mlctl may skip the interpreter's clean-up."""
    registered: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    original = atexit.register

    def register(function: Any, *arguments: Any, **options: Any) -> Any:
        caller = sys._getframe(1).f_globals.get("__name__")
        if caller == "__main__":
            registered.append((function, arguments, options))
            return function
        return original(function, *arguments, **options)

    atexit.register = register  # type: ignore[assignment]
    try:
        yield
    finally:
        atexit.register = original
        for function, arguments, options in reversed(registered):
            with contextlib.suppress(Exception):
                function(*arguments, **options)


@contextlib.contextmanager
def _fast_imports() -> Iterator[None]:
    """Turn garbage collection off while heavy packages are imported."""
    original = builtins.__import__
    depth = 0

    def import_(name: str, *arguments: Any, **options: Any) -> Any:
        nonlocal depth
        package = name.partition(".")[0]
        if depth or package not in HEAVY_PACKAGES or package in sys.modules or not gc.isenabled():
            return original(name, *arguments, **options)
        depth += 1
        gc.disable()
        try:
            return original(name, *arguments, **options)
        finally:
            depth -= 1
            gc.freeze()
            gc.enable()

    builtins.__import__ = import_
    try:
        yield
    finally:
        builtins.__import__ = original
