"""S3, for the tracking server: is the bucket usable, and everything that moves objects in bulk."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.exceptions
from botocore.config import Config

from mlctl.domain.server import Bucket
from mlctl.errors import (
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)

ANSWER_WITHIN_S = 1.2
DELETE_AT_ONCE = 1000  # S3's limit
KEYS_HINT = "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role"
T = TypeVar("T")


class S3Storage:
    """One bucket and the prefix in it that is ours; keys are relative to the prefix."""

    def __init__(self, bucket: Bucket, patient: bool = True) -> None:
        """Prepare, without asking anything; not `patient` means that a silent endpoint is given up at once.

        Raises UsageError and ConfigurationError for values that cannot be.
        """
        self.bucket = bucket
        self.endpoint = bucket.endpoint_url or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
        timeouts = {} if patient else {"connect_timeout": ANSWER_WITHIN_S, "read_timeout": ANSWER_WITHIN_S}
        attempts = 4 if patient else 1
        try:
            self.client: Any = boto3.session.Session().client(
                "s3",
                endpoint_url=self.endpoint,
                region_name=bucket.region,
                config=Config(retries={"total_max_attempts": attempts}, **timeouts),
            )
        except botocore.exceptions.ProfileNotFound as exc:
            raise ConfigurationError(str(exc), "look at AWS_PROFILE and ~/.aws/config") from exc
        except ValueError as exc:
            raise UsageError(
                f"--endpoint-url {bucket.endpoint_url!r} is no address", "write https://HOST"
            ) from exc

    def verify(self, create: bool) -> None:
        """Return where a server can keep artifacts in this bucket; it is put to the test, and left as it was.

        Raises NotFoundError (no such bucket), ConfigurationError (credentials, region, clock), RefusedError
        (a right is missing), UnreachableError (nobody answers, or not with S3).
        """
        try:
            self._call("list", lambda: self.client.list_objects_v2(Bucket=self.bucket.name, MaxKeys=1))
        except NotFoundError:
            if not create:
                raise
            self._create()
        key = self._key(f".mlctl-{uuid.uuid4().hex}")
        where = {"Bucket": self.bucket.name, "Key": key}
        client = self.client
        try:
            self._call("put", lambda: client.put_object(Body=b"mlctl", **where))
            if self._call("get", lambda: client.get_object(**where)["Body"].read()) != b"mlctl":
                raise UnreachableError(
                    f"{self.shown} does not give back what was put", "is it an S3 service?"
                )
            upload = self._call("begin a multipart upload", lambda: client.create_multipart_upload(**where))
            of = {**where, "UploadId": upload["UploadId"]}
            part = self._call("upload a part", lambda: client.upload_part(PartNumber=1, Body=b"mlctl", **of))
            parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            self._call(
                "end a multipart upload",
                lambda: client.complete_multipart_upload(MultipartUpload=parts, **of),
            )
        finally:
            with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                client.delete_object(**where)
        self._call("delete", lambda: client.delete_object(**where))

    @property
    def shown(self) -> str:
        """The service's address, for people."""
        return self.endpoint or "Amazon S3"

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of every object under a relative prefix."""
        pages = self.client.get_paginator("list_objects_v2")
        prefix = self._key(under)
        cut = len(self._key(""))
        listing = iter(pages.paginate(Bucket=self.bucket.name, Prefix=prefix))
        while (page := self._call("list", lambda: next(listing, None))) is not None:
            for one in page.get("Contents", ()):
                yield one["Key"][cut:], one["Size"]

    def open(self, key: str) -> Any:
        """Return an object's body to read from; raises NotFoundError where it is gone."""
        where = {"Bucket": self.bucket.name, "Key": self._key(key)}
        return _Body(self._call("get", lambda: self.client.get_object(**where)["Body"]), self._call)

    def put(self, key: str, body: Any) -> None:
        """Store a readable, in parts where it is large."""
        self._call("put", lambda: self.client.upload_fileobj(body, self.bucket.name, self._key(key)))

    def put_file(self, key: str, file: Path) -> None:
        """Store a file."""
        with self._call(f"read {file}", lambda: file.open("rb")) as body:
            self.put(key, body)  # upload_file would hide S3's answer behind an error of its own

    def delete(self, keys: Iterable[str]) -> int:
        """Delete objects, a thousand a request; return how many."""
        batch: list[dict[str, str]] = []
        total = 0
        for key in keys:
            batch.append({"Key": self._key(key)})
            if len(batch) == DELETE_AT_ONCE:
                total += self._delete(batch)
                batch = []
        return total + self._delete(batch)

    def _delete(self, batch: list[dict[str, str]]) -> int:
        if not batch:
            return 0
        request = {"Objects": batch, "Quiet": True}
        reply = self._call(
            "delete", lambda: self.client.delete_objects(Bucket=self.bucket.name, Delete=request)
        )
        if failed := reply.get("Errors"):
            raise RefusedError(
                f"{self.shown} did not delete {failed[0]['Key']}: {failed[0].get('Message', '')}"
            )
        return len(batch)

    def _key(self, relative: str) -> str:
        return f"{self.bucket.prefix}/{relative}" if self.bucket.prefix else relative

    def _create(self) -> None:
        region = self.client.meta.region_name
        where = {} if self.endpoint or region in (None, "us-east-1") else {"LocationConstraint": region}
        extra = {"CreateBucketConfiguration": where} if where else {}
        self._call("create the bucket", lambda: self.client.create_bucket(Bucket=self.bucket.name, **extra))

    def _call(self, verb: str, request: Callable[[], T]) -> T:
        try:
            return request()
        except botocore.exceptions.ClientError as exc:
            raise self._translated(verb, exc) from exc
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as exc:
            raise ConfigurationError(f"there are no credentials for {self.shown}", KEYS_HINT) from exc
        except botocore.exceptions.ParamValidationError as exc:
            raise UsageError(
                f"{self.bucket.name!r} cannot be a bucket's name", "3 to 63 of a-z, 0-9, - and ."
            ) from exc
        except botocore.exceptions.BotoCoreError as exc:
            hint = "is it running, and is --endpoint-url right?"
            if "SSL" in type(exc).__name__:
                hint = "name its certificate in AWS_CA_BUNDLE"
            said = " ".join(str(exc).split())
            raise UnreachableError(f"{self.shown} does not answer as S3 does: {said[:200]}", hint) from exc
        except OSError as exc:
            raise RefusedError(f"cannot {verb}: {exc}", "look at the file and the free space") from exc

    def _translated(self, verb: str, error: Any) -> MlctlError:
        """Return our error for S3's, by its code."""
        reply = error.response
        code, status = (
            str(reply.get("Error", {}).get("Code", "")),
            reply["ResponseMetadata"]["HTTPStatusCode"],
        )
        headers = reply["ResponseMetadata"].get("HTTPHeaders", {})
        name = self.bucket.name
        if code == "NoSuchBucket":
            return NotFoundError(
                f"{self.shown} has no bucket {name!r}", "say --create-bucket, or name another"
            )
        if code in {"NoSuchKey", "NoSuchUpload"}:
            return NotFoundError(f"{name} has no such object", "has it been deleted meanwhile?")
        if code == "RequestTimeTooSkewed":
            there = headers.get("date", "another time")
            return ConfigurationError(
                f"this machine's clock is wrong: {self.shown} says it is {there}",
                "set the clock (timedatectl)",
            )
        if code in {
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidToken",
            "ExpiredToken",
            "InvalidClientTokenId",
        }:
            return ConfigurationError(f"{self.shown} refuses the credentials ({code})", KEYS_HINT)
        region = headers.get("x-amz-bucket-region") or reply.get("Error", {}).get("Region")
        if status in {301, 307} or code in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
            hint = f"say --region {region}" if region else "look at --region and --endpoint-url"
            return ConfigurationError(
                f"bucket {name!r} is not in region {self.client.meta.region_name}", hint
            )
        if code == "AccessDenied" or status == 403:
            return RefusedError(
                f"these credentials may not {verb} in bucket {name!r}",
                "they need s3:ListBucket, GetObject, PutObject, DeleteObject",
            )
        if code in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
            return RefusedError(f"bucket {name!r} belongs to somebody else", "choose another name")
        if status >= 500:
            return UnreachableError(
                f"{self.shown} failed to {verb}: {code} {status}", "try again in a moment"
            )
        return UnreachableError(
            f"{self.shown} does not answer as S3 does ({status} {code})", "is --endpoint-url right?"
        )


class _Body:
    """An object's content on its way: an error in the middle is translated as one at the beginning is."""

    def __init__(self, raw: Any, call: Callable[[str, Callable[[], bytes]], bytes]) -> None:
        self._raw = raw
        self._call = call

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; all of them without a size."""
        return self._call("get", lambda: bytes(self._raw.read(None if size < 0 else size)))

    def close(self) -> None:
        """Let the connection go."""
        self._raw.close()
