"""Encode a model's answers as MLflow's server does."""

from __future__ import annotations

from typing import Any

import orjson

from mlctl.serving.model import to_json_types


def encode(answers: Any) -> bytes:
    """Return the body of an answer."""
    return orjson.dumps({"predictions": to_json_types(answers)})
