"""What a project and its machine answer: files written, findings of the doctor, a recipe put to the test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: what was found, and what to do where it is not well ("" where it is)."""

    name: str
    ok: bool
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor looked at; `settings` are (name, value, source), secrets masked."""

    checks: tuple[Check, ...]
    settings: tuple[tuple[str, str, str], ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found that needs mending."""
        return all(one.ok for one in self.checks)


@dataclass(frozen=True)
class CheckedStep:
    """One step of a recipe that works: what it made, and how long it took."""

    step: str
    made: str
    seconds: float


@dataclass(frozen=True)
class CheckedRecipe:
    """A recipe whose every step works on a few rows."""

    recipe: str
    file: str
    steps: tuple[CheckedStep, ...]


@dataclass(frozen=True)
class WrittenFile:
    """A file of a project; `written` is false where it was there already and is left as it was."""

    path: str
    written: bool


@dataclass(frozen=True)
class Project:
    """A folder that mlctl and `mlflow run` know what to do with."""

    folder: str
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class InstalledCompletion:
    """A shell's completion script where the shell finds it; `changed` is false where it was there already."""

    shell: str
    file: str
    changed: bool
    start: str
