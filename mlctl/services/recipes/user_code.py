"""Report what a recipe's own code raises: the user's file and line, and the cause in full."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from mlctl.adapters.runlog.mlflow_calls import calls as mlflow_calls
from mlctl.errors import BadDataError, MlctlError
from mlctl.recipes import Recipe, lookup
from mlctl.recipes.local_modules import without_package
from mlctl.recipes.lookup import error_location

MAX_CAUSE = 2000  # characters: a cause is shown in full, unless it contains data
HINT = "fix the recipe (--debug shows the traceback)"
MEMORY_HINT = "use smaller batches (--batch-size), or return streams from load()"

ANSI = re.compile(r"\x1b\[[0-9;]*m")
FRAME = re.compile(r'File "([^"]+)", line (\d+)')
# what TensorFlow and Keras put around the cause
NOISE = (
    re.compile(r"\{\{function_node [^}]*\}\}"),
    re.compile(r"\[\[\{\{node [^}]*\}\}[^\]]*\]\]"),
    re.compile(r"\[Op:[^\]]*\](\s*name:\s*\S*)?"),
    re.compile(r"^\s*\d+ successful operations?\.$", re.MULTILINE),
    re.compile(r"^\s*\d+ derived errors? ignored\.$", re.MULTILINE),
)
KERAS_HEADER = re.compile(r"Exception encountered when calling (.+?)\.\s*\n")
KERAS_ARGUMENTS = re.compile(r"\n\s*Arguments received by .*", re.DOTALL)
TRACEBACK = re.compile(r"(?<=\S)\s*^Traceback \(most recent call last\):.*", re.DOTALL | re.MULTILINE)

lookup.import_guard = mlflow_calls.collect  # a recipe file may call MLflow at its top level, too


@contextlib.contextmanager
def recipe_errors(recipe: Recipe, activity: str) -> Iterator[None]:
    """Turn what a recipe's own code raises into a BadDataError that names the user's file and line."""
    try:
        with mlflow_calls.collect():
            yield
    except MlctlError:
        raise
    except SystemExit as error:
        raise BadDataError(
            f"{error_location(recipe.source_file(), error)}: {activity} failed: it called sys.exit({error.code!r})",
            "raise an exception with a message instead",
        ) from error
    except Exception as error:
        is_memory = isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
        raise BadDataError(
            f"{error_location(recipe.source_file(), error)}: {activity} failed: {describe(error)}",
            MEMORY_HINT if is_memory else HINT,
        ) from error


@contextlib.contextmanager
def own_errors(recipe: Recipe, activity: str) -> Iterator[None]:
    """Do as `recipe_errors` for errors that went through the recipe's own code, or through its tf.data pipeline.

    It is for work of mlctl that calls back into the recipe, such as reading its streams: other errors are mlctl's.
    """
    try:
        yield
    except MlctlError:
        raise
    except Exception as error:
        file = recipe.source_file()
        location = error_location(file, error)
        if location == str(file):
            if not type(error).__module__.startswith("tensorflow."):
                raise
            # TensorFlow does not tell where a pipeline was made
            location = f"{file}, line {type(recipe).load.__code__.co_firstlineno}"
        raise BadDataError(f"{location}: {activity} failed: {describe(error)}", HINT) from error


def describe(error: BaseException) -> str:
    """Return an exception's type and cause in one line, without what Keras and TensorFlow put around it."""
    text = without_package(" ".join(_cause(ANSI.sub("", str(error))).split()))
    if isinstance(error, KeyError) and len(error.args) == 1:
        text = f"{error.args[0]!r}"
    if len(text) > MAX_CAUSE:
        text = f"{text[: MAX_CAUSE // 2]} … {text[-MAX_CAUSE // 2 :]}"
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _cause(text: str) -> str:
    """Return the part of a message that says what is wrong."""
    if "in user code:" in text:  # a traceback, and the cause after a blank line
        lines = text.split("in user code:")[-1].splitlines()
        last = max((number for number, line in enumerate(lines) if FRAME.search(line)), default=-1)
        blank = next((number for number in range(last + 1, len(lines)) if not lines[number].strip()), last)
        text = re.sub(r"^\s*\w*(Error|Exception): ", "", "\n".join(lines[blank + 1 :]))
    if "(most recent call last)" in text:  # where the graph was made, one pair of lines for each call
        text = "\n".join(line for line in text.splitlines() if not _is_call(line))
    header = KERAS_HEADER.search(text)
    text = TRACEBACK.sub("", text)  # of a Python function in a graph, after the cause
    text = KERAS_ARGUMENTS.sub("", KERAS_HEADER.sub("", text))
    for noise in NOISE:
        text = noise.sub("", text)
    return f"{text.strip()} (in {header[1]})" if header else text


def _is_call(line: str) -> bool:
    """Return whether a line of a graph's error tells where the graph was made."""
    return bool(FRAME.search(line)) or line.startswith(("Graph execution error", "Detected at node"))
