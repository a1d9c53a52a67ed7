"""mlctl endpoints drift: an endpoint's traffic compared with the profile of its model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mlctl.adapters.pages.drift_bars import draw_bars
from mlctl.adapters.pages.report_page import check_page_name, write_page
from mlctl.domain.drift import DriftReport, FeatureDrift
from mlctl.domain.report import Report, ReportBlock, ReportPlot, ReportSection, ReportTable, ReportText
from mlctl.errors import NotFoundError
from mlctl.services.serving.endpoints import endpoint_states, require_state
from mlctl.services.serving.folders import endpoint_folder
from mlctl.serving.traffic.report import FOLDER, NoProfileError, NoTrafficError, make_report
from mlctl.settings import Settings
from mlctl.units import count, format_duration

MAX_PLOTS = 24


def drift_report(settings: Settings, name: str, since_s: float, html: Path | None = None) -> DriftReport:
    """Return how the traffic of an endpoint differs from its model's training data; write a page about it if asked to.

    The endpoint may have been stopped. Raises NotFoundError if there is no such endpoint or no traffic to compare, and
    UsageError if `html` is no HTML file.
    """
    if html is not None:
        check_page_name(html)
    states = endpoint_states(settings)
    folder = endpoint_folder(states, name).path / FOLDER
    if not folder.is_dir():
        require_state(states, name)
        raise NotFoundError(f"the endpoint {name!r} logs no requests", "start it with --log-requests 1%")
    model = (states.read(name) or {}).get("model", name)
    try:
        report = make_report(folder, endpoint=name, model=model, since=time.time() - since_s)
    except NoProfileError:
        raise NotFoundError(
            f"the model of {name} has no profile to compare its traffic with",
            "train it again with this version of mlctl: models of earlier versions and of MLflow have none",
        ) from None
    except NoTrafficError:
        raise NotFoundError(
            f"{name} has logged no requests in the last {_format(since_s)}",
            "choose a longer --since, or log a larger share of the requests",
        ) from None
    if html is not None:
        write_page(_page(report, since_s), html)
        report = replace(report, file=str(html))
    return report


def _page(report: DriftReport, since_s: float) -> Report:
    version = f" version {report.version}" if report.version else ""
    facts = [
        ("drifted", f"{len(report.drifted)} of {len(report.features)}"),
        ("requests", f"{report.requests:,}"),
        ("rows", f"{report.rows:,}"),
    ]
    facts += [
        (f"{score.metric}, live", f"{score.value:.4g} ({score.low:.4g} to {score.high:.4g})")
        for score in report.scores
    ]
    return Report(
        title=f"Drift of {report.endpoint}",
        subtitle=f"{report.model}{version}, the last {_format(since_s)}",
        facts=facts,
        sections=list(_sections(report)),
        made_by=f"Written by mlctl, {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %Z}",
    )


def _sections(report: DriftReport) -> Iterator[ReportSection]:
    drifted = report.drifted
    intro = (
        f"Training in grey, live in blue: the share of the rows in each range or with each value. The {count(report.rows, 'live row')}"
        " are compared with the profile that was stored with the model."
    )
    plots = [
        ReportPlot(title=feature.name, svg=draw_bars(_title(feature), feature.words, feature.bins))
        for feature in drifted[:MAX_PLOTS]
        if feature.bins
    ]
    yield ReportSection(
        title="What moved",
        blocks=[ReportText(text=intro), *plots] if drifted else [ReportText(text="Nothing has drifted.")],
    )
    blocks: list[ReportBlock] = [ReportText(text=note) for note in report.notes]
    yield ReportSection(
        title="All features", blocks=[*blocks, _table(report.features)], missing="too few rows"
    )
    scores = ReportTable(
        columns=("score", "live", "low", "high", "rows", "at training"),
        rows=[
            (
                score.metric,
                f"{score.value:.4g}",
                f"{score.low:.4g}",
                f"{score.high:.4g}",
                f"{score.rows:,}",
                "" if score.trained is None else f"{score.trained:.4g}",
            )
            for score in report.scores
        ],
    )
    yield ReportSection(
        title="Live score", blocks=[scores] if report.scores else [], missing="no feedback about these rows"
    )


def _table(features: Sequence[FeatureDrift]) -> ReportTable:
    return ReportTable(
        columns=("feature", "of", "drifted", "what moved", "PSI", "moved", "p-value", "rows"),
        rows=[
            (
                feature.name,
                feature.of,
                "yes" if feature.has_drifted else "no",
                feature.words,
                f"{feature.psi:.3f}",
                f"{feature.moved:.3f}",
                f"{feature.p_value:.2g}",
                f"{feature.rows:,}",
            )
            for feature in features
        ],
    )


def _format(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:g} h" if hours in range(1, 49) else format_duration(seconds)


def _title(feature: FeatureDrift) -> str:
    return feature.name if feature.of == "input" else f"{feature.name} (the model's answers)"
