"""A pytest plugin that writes the outcome of each test to a file at once, so that a run that takes too long counts."""

from __future__ import annotations

import json
import os

import pytest

FILE = os.environ["PEER_OUTCOMES"]


def _write(name: str, outcome: str) -> None:
    with open(FILE, "a", encoding="utf-8") as file:
        file.write(json.dumps([name, outcome]) + "\n")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        _write(report.nodeid, report.outcome if report.when != "setup" or report.skipped else "error")


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _write(report.nodeid, "error")


def pytest_sessionfinish() -> None:
    _write("", "finished")
