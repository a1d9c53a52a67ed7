"""How resumed, sent and reproduced runs are shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mlctl.domain.run import Reproduction, SyncReport
from mlctl.output.render import PAIR, Column, Table
from mlctl.output.views.base import document, tables


@tables.register
def _(answer: SyncReport) -> list[Table]:
    columns = (Column("run", keep=9), Column("status"), Column("entries sent", right=True))
    rows = [(one.run_id, one.status, one.sent) for one in answer.runs]
    return [Table(columns, rows, empty="nothing is waiting to be sent")]


@document.register
def _(answer: SyncReport) -> Any:
    return [{"run_id": one.run_id, "status": one.status, "sent": one.sent} for one in answer.runs]


@tables.register
def _(answer: Reproduction) -> list[Table]:
    verdict = "identical in every figure of every epoch" if answer.identical else "different"
    about = Table(
        PAIR,
        [
            ("run", answer.run.run_id),
            ("reproduces", answer.of),
            ("outcome", verdict),
            *(("because", reason) for reason in answer.reasons if not answer.identical),
        ],
    )
    if answer.identical:
        return [about]
    columns = (
        Column("metric", keep=9), Column("first at epoch", right=True),
        Column("then", right=True, keep=9), Column("now", right=True, keep=9),
    )  # fmt: skip
    return [about, Table(columns, [(one.metric, one.step, one.then, one.now) for one in answer.differences])]


@document.register
def _(answer: Reproduction) -> Any:
    return {
        **document(answer.run),
        "reproduces": answer.of,
        "identical": answer.identical,
        "differences": [asdict(one) for one in answer.differences],
        "reasons": list(answer.reasons),
    }
