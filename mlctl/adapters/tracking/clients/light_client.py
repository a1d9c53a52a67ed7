"""What the clients without MLflow have in common: what they cannot do, MLflow's own client does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any


class LightClient:
    """A client with the names and answers of `MlflowClient`, without importing MLflow.

    A subclass has the requests of commands that only look, or that change a single thing. For any other name the
    client asks MLflow's own, which it makes at that moment.
    """

    def __init__(self, tracking_uri: str, make_mlflow_client: Callable[[], Any]) -> None:
        self.tracking_uri = tracking_uri
        self._make_mlflow_client = make_mlflow_client

    @cached_property
    def full(self) -> Any:
        """MLflow's own client of this store."""
        return self._make_mlflow_client()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "full":
            raise AttributeError(name)
        return getattr(self.full, name)
