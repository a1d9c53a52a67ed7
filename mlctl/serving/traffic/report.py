"""From the log of an endpoint to its drift report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlctl.domain.drift import DriftReport, LiveScore
from mlctl.serving.traffic import drift, profile
from mlctl.serving.traffic.feedback import read_truths, truths_of_rows
from mlctl.serving.traffic.live_score import live_score
from mlctl.serving.traffic.log_reader import MAX_ROWS, Traffic, read_traffic

NOTED_WEIGHT = 0.9
FOLDER = "requests"  # in the endpoint's folder


class NoTrafficError(Exception):
    """No rows were logged."""


class NoProfileError(NoTrafficError):
    """The model that answered has no profile."""


def make_report(
    folder: Path, *, endpoint: str, model: str, since: float, max_rows: int = MAX_ROWS, with_bins: bool = True
) -> DriftReport:
    """Return the drift report of an endpoint.

    Args:
        folder: Folder of its request log.
        endpoint: Name of the endpoint.
        model: Name of the model.
        since: Start of the period, in seconds since the epoch.
        max_rows: The newest rows that are compared.
        with_bins: Return the distributions, too.

    Raises NoTrafficError if no rows were logged, NoProfileError if the model has no profile.
    """
    traffic = read_traffic(folder, since, max_rows=max_rows)
    if traffic is None:
        raise NoTrafficError
    found = read_kept_profile(folder, traffic.version)
    if found is None:
        raise NoProfileError
    return DriftReport(
        endpoint=endpoint,
        model=model,
        version=traffic.version,
        since=datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        requests=traffic.requests,
        rows=traffic.rows,
        features=drift.compare_with_profile(found, traffic.inputs, traffic.answers, with_bins=with_bins),
        scores=_scores(folder, found, traffic),
        notes=_notes(found, traffic),
    )


def keep_profile(model_folder: Path, folder: Path, version: str) -> None:
    """Copy a version's profile to the log's folder, so that it is there after the version is gone."""
    source = model_folder / profile.FILE
    if source.is_file():
        (folder / _profile_folder(version)).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / _profile_folder(version) / profile.FILE)


def read_kept_profile(folder: Path, version: str) -> profile.Profile | None:
    """Return the profile of a version that the endpoint has served."""
    return profile.read_profile(folder / _profile_folder(version))


def _profile_folder(version: str) -> str:
    return f"version-{version}" if version else "version"


def _scores(folder: Path, found: Mapping[str, Any], traffic: Traffic) -> Sequence[LiveScore]:
    truths = read_truths(folder)
    if not truths:
        return ()
    scores = []
    for entry in found["answers"]:
        is_only = len(traffic.answers) == 1 and len(found["answers"]) == 1
        answers = next(iter(traffic.answers.values())) if is_only else traffic.answers.get(entry["name"])
        if answers is None:
            continue
        of_rows = truths_of_rows(
            truths, traffic.request_ids, traffic.places, "" if is_only else entry["name"]
        )
        if (score := live_score(entry, answers, of_rows)) is not None:
            scores.append(score)
    return scores


def _notes(found: Mapping[str, Any], traffic: Traffic) -> list[str]:
    notes = []
    if traffic.rows < drift.FEWEST_ROWS:
        notes.append(f"only {traffic.rows} rows: at least {drift.FEWEST_ROWS} are compared")
    if (weight := drift.row_weight(found, traffic.inputs)) < NOTED_WEIGHT:
        notes.append(
            f"many rows are repeated: {traffic.rows:,} count as {weight * traffic.rows:,.0f} different ones"
        )
    if traffic.other_versions:
        notes.append(f"{traffic.other_versions:,} rows that other versions answered are left out")
    if traffic.is_cut:
        notes.append(f"only the newest {traffic.rows:,} rows are compared")
    if left_out := found.get("left_out"):
        notes.append(f"the profile leaves out {left_out} columns")
    if names := _redacted(found, traffic):
        notes.append(f"not in the log: {', '.join(names)}")
    return notes


def _redacted(found: Mapping[str, Any], traffic: Traffic) -> list[str]:
    if len(found["inputs"]) == 1 or not traffic.inputs:
        return []
    return [entry["name"] for entry in found["inputs"] if entry["name"] not in traffic.inputs]
