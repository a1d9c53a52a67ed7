"""Results of the commands about a project and its machine: init, doctor, completion and recipes check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DoctorCheck:
    """One check of the doctor: what it found, and how to fix a problem ("" if there is nothing to fix)."""

    name: str
    ok: bool
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks of the doctor; `settings` are (name, value, source), with secrets masked."""

    checks: tuple[DoctorCheck, ...]
    settings: tuple[tuple[str, str, str], ...]

    @property
    def ok(self) -> bool:
        """Whether all checks passed."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class CheckedStep:
    """One step of a recipe that works: its result, and its duration."""

    step: str
    result: str
    seconds: float


@dataclass(frozen=True)
class CheckedRecipe:
    """A recipe of which every step works on a few rows."""

    recipe: str
    file: str
    steps: tuple[CheckedStep, ...]


@dataclass(frozen=True)
class WrittenFile:
    """A file of a project; `written` is false if it existed already and was left unchanged."""

    path: str
    written: bool


@dataclass(frozen=True)
class Project:
    """A folder in which both mlctl and `mlflow run` work."""

    folder: str
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True, kw_only=True)
class InstalledCompletion:
    """An installed completion script.

    Attributes:
        changed: False if the same script was installed already.
        next_step: What the user does so that the shell uses it.
    """

    shell: str
    file: str
    changed: bool
    next_step: str
