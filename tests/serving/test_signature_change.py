"""Which version may replace another without `--allow-signature-change`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlctl.serving.supervision.signature_change import signature_change

pytestmark = pytest.mark.unit


def tensor(shape: list[int], dtype: str = "float32", **more: Any) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **more}


def column(name: str, kind: str = "double", *, required: bool = True) -> dict[str, Any]:
    return {"type": kind, "name": name, "required": required}


def model(folder: Path, inputs: Any, outputs: Any = None, params: Any = None) -> Path:
    folder.mkdir()
    parts = {"inputs": inputs, "outputs": outputs, "params": params}
    signature = {name: part and json.dumps(part) for name, part in parts.items()}
    (folder / "MLmodel").write_text(yaml.safe_dump({"signature": signature if inputs else None}))
    return folder


ROW, TWO = tensor([-1, 8]), [column("a"), column("b", "long")]
PARAMETER = [{"name": "t", "type": "double", "default": 1.0, "shape": None}]
EQUAL: list[tuple[str, tuple[Any, ...], tuple[Any, ...]]] = [
    ("the same", ([ROW],), ([ROW],)),
    ("any length", ([tensor([-1, 8])],), ([tensor([-1, -1])],)),
    ("other order", (TWO,), (TWO[::-1],)),
    ("one more optional column", (TWO,), ([*TWO, column("c", required=False)],)),
    ("a gap is allowed", (TWO,), ([column("a", required=False), TWO[1]],)),
    ("a wider type", (TWO,), ([TWO[0], column("b", "double")],)),
    ("outputs unknown", ([ROW], [ROW]), ([ROW],)),
    ("one more parameter", ([ROW],), ([ROW], None, PARAMETER)),
    ("no signatures", (None,), (None,)),
]
CHANGED: list[tuple[str, tuple[Any, ...], tuple[Any, ...], str]] = [
    ("shape", ([ROW],), ([tensor([-1, 9])],), "(n, 9) of float32 instead of a tensor (n, 8)"),
    ("dtype", ([ROW],), ([tensor([-1, 8], "uint8")],), "of uint8 instead of"),
    ("table for tensor", ([ROW],), (TWO,), "the columns a, b instead of a tensor"),
    ("text for tensor", ([ROW],), ([column("text", "string")],), "the columns text instead of a tensor"),
    ("column gone", (TWO,), (TWO[:1],), "does not take the input b"),
    ("column added", (TWO,), ([*TWO, column("c")],), "needs the input c too"),
    ("no gap any more", ([column("a", required=False)],), ([column("a")],), "may not be missing"),
    ("narrower type", ([column("a", "double")],), ([column("a", "long")],), "is long instead of double"),
    ("classes", ([ROW], [tensor([-1, 3])]), ([ROW], [tensor([-1, 4])]), "the output is a tensor (n, 4)"),
    (
        "outputs by name",
        ([ROW], [tensor([-1, 3], name="a")]),
        ([ROW], [tensor([-1, 3], name="b")]),
        "the output a",
    ),
    ("parameter gone", ([ROW], None, PARAMETER), ([ROW],), "the parameter t"),
    ("no signature", ([ROW],), (None,), "it has no signature"),
    ("a signature", (None,), ([ROW],), "it has a signature"),
]


@pytest.mark.parametrize(("ours", "theirs"), [pytest.param(*case[1:], id=case[0]) for case in EQUAL])
def test_clients_of_one_can_use_the_other(tmp_path: Path, ours: Any, theirs: Any) -> None:
    assert signature_change(model(tmp_path / "a", *ours), model(tmp_path / "b", *theirs)) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "words"), [pytest.param(*case[1:], id=case[0]) for case in CHANGED]
)
def test_a_change_is_named(tmp_path: Path, ours: Any, theirs: Any, words: str) -> None:
    change = signature_change(model(tmp_path / "a", *ours), model(tmp_path / "b", *theirs))
    assert change is not None
    assert words in change
