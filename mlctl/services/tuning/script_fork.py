"""Whether a script can run in a process that has imported Keras already."""

from __future__ import annotations

import re
from pathlib import Path

from mlctl.adapters.scripts.execution import Program
from mlctl.errors import UsageError
from mlctl.recipes import local_modules

# what a script does before it imports Keras, and what cannot be done in a process that has imported it
_NEEDS_FRESH_PROCESS = re.compile(r"\b(KERAS_BACKEND|putenv|dotenv|environ\.update|jax|torch)\b")
_SETS_VARIABLE = re.compile(r"environ(?:\.setdefault\(|\[)\s*['\"](\w+)['\"]\s*(?:,|\]\s*=(?!=))")
_SETS_BACKEND = re.compile(
    r"KERAS_BACKEND['\"]\s*(?:\]\s*=|,|:)\s*['\"](jax|torch)['\"]|set_backend\(['\"](jax|torch)"
)
# they are read when they are needed, or change only what is printed
_LATE_VARIABLES = re.compile(r"TF_CPP_MIN_LOG_LEVEL|MLFLOW_\w+|AWS_\w+|PYTHONHASHSEED|TOKENIZERS_\w+|HF_\w+")


def modules_of(program: Program) -> dict[str, Path]:
    """Return the modules that a program imports from its folder, by their path in it; nothing is executed."""
    folder, own = program.import_folder.resolve(), program.file.resolve()
    return {
        path.relative_to(folder).as_posix(): path
        for path in local_modules.static_sources(own)
        if path != own and path.is_relative_to(folder)
    }


def can_fork(program: Program) -> bool:
    """Return whether a script can run in a process that has imported Keras on TensorFlow.

    It cannot if it sets variables of the environment that are read by the import, or uses another framework.
    """
    for path in (program.file, *modules_of(program).values()):
        text = path.read_text(encoding="utf-8", errors="replace")
        if _NEEDS_FRESH_PROCESS.search(text):
            return False
        if not all(_LATE_VARIABLES.fullmatch(name) for name in _SETS_VARIABLE.findall(text)):
            return False
    return True


def require_script_on_tensorflow(program: Program) -> None:
    """Raise UsageError if a script chooses another backend of Keras: its final model would be trained on TensorFlow."""
    for path in (program.file, *modules_of(program).values()):
        if found := _SETS_BACKEND.search(path.read_text(encoding="utf-8", errors="replace")):
            raise UsageError(
                f"{path.name} trains on {found[1] or found[2]}, but mlctl tune trains on TensorFlow only",
                "remove KERAS_BACKEND from it; mlctl train takes it",
            )
