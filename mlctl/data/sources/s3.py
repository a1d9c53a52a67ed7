"""A data file in a bucket, fetched once for each content that it has had."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from filelock import FileLock

from mlctl.data.sources.cache import Progress, writing
from mlctl.errors import ConfigurationError, MlctlError, NotFoundError, UnreachableError

# a bucket that is not there is told in seconds, not after boto3's own minutes of trying
PATIENCE = Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1})


def fetch(url: str, name: str, cache_dir: Path, progress: Progress) -> Path:
    """Return a local copy of the object at `url`, or of `name` under it or beside it.

    The copy is kept by the object's ETag: the same content is fetched once, a new one again. Endpoint and
    credentials are boto3's own (AWS_ENDPOINT_URL_S3, AWS_PROFILE, AWS_ACCESS_KEY_ID …).

    Raises NotFoundError, UnreachableError, and ConfigurationError where credentials are missing or refused.
    """
    bucket, key = _bucket_and_key(url, name)
    client = None
    try:
        client = boto3.Session().client("s3", config=PATIENCE)  # the default one keeps its first credentials
        head = client.head_object(Bucket=bucket, Key=key)
        final = cache_dir / "s3" / re.sub(r"[^\w.-]", "", head["ETag"]) / name
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_name(name + ".lock")):
            if final.is_file():
                return final
            return _kept(client.get_object(Bucket=bucket, Key=key), final, progress)
    except (ClientError, BotoCoreError, ValueError) as exc:
        endpoint = client.meta.endpoint_url if client is not None else ""
        raise _translated(exc, f"s3://{bucket}/{key}", endpoint) from exc
    except OSError as exc:
        raise writing(cache_dir / "s3", exc) from exc


def _bucket_and_key(url: str, name: str) -> tuple[str, str]:
    parts = urlsplit(url)
    key = parts.path.lstrip("/")
    if not parts.netloc:
        raise NotFoundError(f"{url} names no bucket", "write s3://BUCKET/KEY or s3://BUCKET/FOLDER")
    last = key.rpartition("/")[2]
    if key and Path(last).suffix == Path(name).suffix:
        return parts.netloc, key
    if key and Path(last).suffix in (".npz", ".csv", ".json"):  # one file of several was given
        return parts.netloc, key[: -len(last)] + name
    return parts.netloc, f"{key.rstrip('/')}/{name}".lstrip("/")


def _kept(answer: dict[str, object], final: Path, progress: Progress) -> Path:
    total = int(str(answer["ContentLength"]))
    part = final.with_name(final.name + ".part")
    done = 0
    try:
        with part.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(1 << 20):  # type: ignore[attr-defined]  # boto3 ships no types
                file.write(chunk)
                done += len(chunk)
                progress(final.name, done, total)
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)
    return final


def _translated(exc: Exception, url: str, endpoint: str) -> MlctlError:
    where = f" at {endpoint}" if endpoint else ""
    if isinstance(exc, NoCredentialsError):
        return ConfigurationError(
            f"{url}: there are no credentials for it",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        )
    if isinstance(exc, ClientError):
        code = exc.response.get("Error", {}).get("Code", "")
        if code in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
            return NotFoundError(f"{url} does not exist{where}", "look at the bucket's name and the key")
        if code in ("403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return ConfigurationError(
                f"{url}: access is denied{where}",
                "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy",
            )
        return UnreachableError(f"{url} cannot be read{where}: it answers {code}", "try again")
    if isinstance(exc, ValueError):  # boto3 on an endpoint or a bucket that cannot be
        return ConfigurationError(f"{url}: {exc}", "look at AWS_ENDPOINT_URL_S3 and the bucket's name")
    return UnreachableError(
        f"{url} cannot be reached{where}: {type(exc).__name__}", "look at AWS_ENDPOINT_URL_S3 and the network"
    )
