"""Views of exported models and their proofs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mlctl.domain.exports import ExportedModel, ExportProof
from mlctl.output.tables import AnswerTable, TableColumn, pair_table
from mlctl.output.views.base import document, tables
from mlctl.units import format_size


@document.register
def _(answer: ExportedModel) -> Any:
    return {
        "kind": answer.kind,
        "folder": answer.folder,
        "files": list(answer.files),
        "proof": answer.proof.to_json() if answer.proof else None,
        "notes": list(answer.notes),
    }


@tables.register
def _(answer: ExportedModel) -> list[AnswerTable]:
    rows = [(f"{answer.folder}/{name}",) for name in answer.files]
    written = AnswerTable(columns=(TableColumn("written"),), rows=rows)
    proof = [pair_table(proof_rows(answer.proof))] if answer.proof else []
    notes = [pair_table([("note", Text(note, style="yellow")) for note in answer.notes])]
    return [written, *proof, *(notes if answer.notes else [])]


def proof_rows(proof: ExportProof) -> list[tuple[str, Any]]:
    """Return what a proof says, as pairs."""
    model = "Keras" if proof.compared_with == "keras" else "the model"
    size = format_size(proof.size_bytes)
    if proof.float32_bytes:
        size += f", {proof.size_bytes / proof.float32_bytes:.0%} of float32"
    labels = "" if proof.equal_labels is None else f", {proof.equal_labels:.2%} of the labels are equal"
    rows: list[tuple[str, Any]] = [
        ("format", Text(proof.title, style="bold")),
        ("asked", f"{proof.rows:,} rows ({proof.split})"),
        (f"agreement with {model}", f"{agreement(proof)}{labels}"),
    ]
    if score := proof.score:
        rows += [
            (f"{score.metric} before", f"{score.before:.4g} ({_interval(score.before_interval)})"),
            (f"{score.metric} after", f"{score.after:.4g} ({_interval(score.after_interval)})"),
            ("loss", f"{score.loss:z.2f} {score.loss_unit} ({_interval(score.loss_interval, 'z.2f')})"),
        ]
    return [
        *rows,
        ("size", size),
        ("one row", f"{proof.latency_ms:.3g} ms"),
        ("memory", format_size(proof.memory_bytes)),
        ("runtime", ", ".join(f"{name} {version}" for name, version in proof.runtimes.items())),
        ("encoder", {"inside": "in the file", "beside": "in preprocess.json", "none": ""}[proof.encoder]),
    ]


def proof_table(proofs: Sequence[ExportProof]) -> AnswerTable:
    """Return proofs as one table, a line each."""
    columns = (
        TableColumn("export"),
        TableColumn("agreement", right=True),
        TableColumn("metric"),
        TableColumn("before", right=True),
        TableColumn("after", right=True),
        TableColumn("size", right=True),
        TableColumn("one row", right=True),
    )
    rows = [
        (
            proof.title,
            agreement(proof),
            proof.score.metric if proof.score else "",
            f"{proof.score.before:.4g}" if proof.score else "",
            f"{proof.score.after:.4g}" if proof.score else "",
            format_size(proof.size_bytes),
            f"{proof.latency_ms:.3g} ms",
        )
        for proof in proofs
    ]
    return AnswerTable(columns=columns, rows=rows)


def agreement(proof: ExportProof) -> str:
    """Return the largest difference in words."""
    if proof.max_difference == 0:
        return "equal"
    largest = f"within {proof.max_difference:.1g}"
    is_relative = proof.relative_difference < 0.5 * proof.max_difference
    return f"{largest} ({proof.relative_difference:.1g} of the largest answer)" if is_relative else largest


def _interval(interval: tuple[float, float], digits: str = ".4g") -> str:
    return f"95 %: {interval[0]:{digits}} to {interval[1]:{digits}}"
