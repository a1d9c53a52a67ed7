"""The versions and the machine of a run: values such as version.keras and machine.cpu.

A run has them in one JSON file. Runs of earlier versions have a tag for each of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlctl.domain.tags import MACHINE_PREFIX, VERSION_PREFIX

ENVIRONMENT_FILE = "environment.json"
CPU, CORES, GPUS, SYSTEM = "machine.cpu", "machine.cores", "machine.gpus", "machine.os"
VERSION = "version."  # followed by the name of a package


def to_json(environment: Mapping[str, Any]) -> str:
    """Return the content of a run's file: {"machine": {"cpu": …}, "version": {"keras": …}}."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in environment.items():
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = value
    return json.dumps(sections, indent=2) + "\n"


def from_json(text: str) -> dict[str, str]:
    """Return the values of a run's file; none of a file that is not valid."""
    try:
        return {
            f"{section}.{key}": str(value)
            for section, values in json.loads(text).items()
            for key, value in values.items()
        }
    except (ValueError, AttributeError):  # anyone can replace an artifact
        return {}


def from_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the values in the tags of a run of an earlier version."""
    return {
        name.removeprefix("mlctl."): value
        for name, value in tags.items()
        if name.startswith((MACHINE_PREFIX, VERSION_PREFIX))
    }
