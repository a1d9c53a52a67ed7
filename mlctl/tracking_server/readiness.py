"""What /ready checks: the database, and the bucket of the artifacts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import sqlalchemy
from mlflow.server import handlers

from mlctl.domain.server import Bucket
from mlctl.errors import MlctlError
from mlctl.tracking_server.server_config import ServerConfig

TIMEOUT_S = 2.0
DATABASE_INTERVAL_S, BUCKET_INTERVAL_S = 0.5, 2.0


class ReadinessCheck:
    """Asks a service at most once per interval, whatever number of requests want to know.

    Args:
        ask: Returns what is wrong, or "".
        silent: What is wrong if the service does not answer in time.
        interval_s: Seconds for which an answer counts.
    """

    def __init__(self, ask: Callable[[], str], silent: str, interval_s: float) -> None:
        self._ask, self._silent, self._interval_s = ask, silent, interval_s
        self._checked_at, self._trouble = float("-inf"), ""
        self._running: asyncio.Task[str] | None = None

    async def trouble(self) -> str:
        """Return what is wrong, or ""."""
        if time.monotonic() - self._checked_at > self._interval_s:
            if self._running is None or self._running.done():  # a thread that hangs is not started again
                self._running = asyncio.create_task(asyncio.to_thread(self._ask))
            try:
                self._trouble = await asyncio.wait_for(asyncio.shield(self._running), TIMEOUT_S)
            except TimeoutError:
                self._trouble = self._silent
            self._checked_at = time.monotonic()
        return self._trouble


def database_check() -> ReadinessCheck:
    """Return the check of the database."""
    return ReadinessCheck(_ask_database, "the database does not answer", DATABASE_INTERVAL_S)


def bucket_check(config: ServerConfig) -> ReadinessCheck | None:
    """Return the check of the bucket; None if artifacts are in a folder."""
    uri = config.artifacts_destination or config.artifact_root
    if not uri.startswith("s3://"):
        return None
    parts = urlsplit(uri)
    endpoint = os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    bucket = Bucket(name=parts.netloc, prefix=parts.path.strip("/"), endpoint_url=endpoint)
    silent = f"the bucket {bucket.name} does not answer"
    return ReadinessCheck(_BucketProbe(bucket), silent, BUCKET_INTERVAL_S)


def _ask_database() -> str:
    try:
        with handlers._get_tracking_store().engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT version_num FROM alembic_version"))
    except sqlalchemy.exc.SQLAlchemyError:
        return "the database does not answer"
    return ""


class _BucketProbe:
    def __init__(self, bucket: Bucket) -> None:
        from mlctl.s3 import PROBE, S3Bucket  # a server with a folder needs no boto3

        self._name, self._client = bucket.name, S3Bucket(bucket, PROBE)

    def __call__(self) -> str:
        try:
            self._client.require_listable()
        except MlctlError as error:
            return f"the bucket {self._name} cannot be used: {error.message}"
        return ""
