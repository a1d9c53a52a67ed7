"""One S3 client: for artifacts, shared files of a cluster, and data files."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
from botocore.config import Config

from mlctl.domain.server import Bucket
from mlctl.domain.short_texts import one_line
from mlctl.errors import (
    ConfigurationError,
    MlctlError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)

# boto3's own settings try for minutes; a service that does not answer must be reported in seconds
BULK = Config(retries={"total_max_attempts": 4})
FETCH = Config(connect_timeout=2, read_timeout=20, retries={"total_max_attempts": 1})
PROBE = Config(connect_timeout=1.2, read_timeout=1.2, retries={"total_max_attempts": 1})
DELETE_BATCH_SIZE = 1000  # S3's limit
CREDENTIALS_HINT = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role"
ENDPOINT_HINT = "check that it runs, and the endpoint (--endpoint-url or AWS_ENDPOINT_URL_S3)"
CREDENTIALS_CODES = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "InvalidClientTokenId",
}
T = TypeVar("T")


class S3Bucket:
    """A bucket and the prefix in it that mlctl uses; keys are relative to the prefix.

    Credentials are boto3's own. Each method raises NotFoundError (no such bucket or key), ConfigurationError
    (credentials, region, clock), RefusedError (a right is missing) or UnreachableError (nothing answers, or not as S3
    does).
    """

    def __init__(self, bucket: Bucket, config: Config = BULK) -> None:
        """Create the client without sending a request.

        Raises UsageError for an invalid endpoint, ConfigurationError for an unknown AWS profile.
        """
        self.bucket = bucket
        try:
            # a new session: boto3's default one keeps the credentials of its first use
            self.client: Any = boto3.session.Session().client(
                "s3", endpoint_url=bucket.endpoint_url, region_name=bucket.region, config=config
            )
        except botocore.exceptions.ProfileNotFound as exc:
            raise ConfigurationError(str(exc), "check AWS_PROFILE and ~/.aws/config") from exc
        except ValueError as exc:
            raise UsageError(f"invalid S3 endpoint: {exc}", "write https://HOST") from exc

    @property
    def service(self) -> str:
        """The service's address for messages."""
        endpoint = str(self.client.meta.endpoint_url)
        return "Amazon S3" if endpoint.endswith(".amazonaws.com") else endpoint

    def verify(self, *, create: bool) -> None:
        """Check that a server can keep artifacts in this bucket, by writing, reading and deleting an object.

        `create` creates the bucket if it does not exist.
        """
        try:
            self.require_listable()
        except NotFoundError as exc:
            if not create:
                raise NotFoundError(exc.message, "create it with --create-bucket, or name another") from exc
            self._create()
        target = {"Bucket": self.bucket.name, "Key": self._key(f".mlctl-{uuid.uuid4().hex}")}
        client = self.client
        try:
            self._call("put", lambda: client.put_object(Body=b"mlctl", **target))
            if self._call("get", lambda: client.get_object(**target)["Body"].read()) != b"mlctl":
                raise UnreachableError(
                    f"{self.service} does not return what was stored", "check that it is an S3 service"
                )
            upload = self._call("begin a multipart upload", lambda: client.create_multipart_upload(**target))
            multipart = {**target, "UploadId": upload["UploadId"]}
            part = self._call(
                "upload a part", lambda: client.upload_part(PartNumber=1, Body=b"mlctl", **multipart)
            )
            parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            self._call(
                "end a multipart upload",
                lambda: client.complete_multipart_upload(MultipartUpload=parts, **multipart),
            )
        finally:
            with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                client.delete_object(**target)
        self._call("delete", lambda: client.delete_object(**target))

    def require_listable(self) -> None:
        """Send one small request; raises what every method raises."""
        self._call("list", lambda: self.client.list_objects_v2(Bucket=self.bucket.name, MaxKeys=1))

    def sizes(self, under: str = "") -> Iterator[tuple[str, int]]:
        """Yield (key, bytes) of every object below a prefix."""
        pages = self.client.get_paginator("list_objects_v2")
        skipped = len(self._key(""))
        listing = iter(pages.paginate(Bucket=self.bucket.name, Prefix=self._key(under)))
        while (page := self._call("list", lambda: next(listing, None))) is not None:
            for found in page.get("Contents", ()):
                yield found["Key"][skipped:], found["Size"]

    def open(self, key: str) -> S3Object:
        """Open an object for reading."""
        target = {"Bucket": self.bucket.name, "Key": self._key(key)}
        return S3Object(self._call("get", lambda: self.client.get_object(**target)), self._call)

    def put(self, key: str, body: Any) -> None:
        """Store the content of a readable, in parts if it is large."""
        self._call("put", lambda: self.client.upload_fileobj(body, self.bucket.name, self._key(key)))

    def put_file(self, key: str, file: Path) -> None:
        """Store a file."""
        with self._call(f"read {file}", lambda: file.open("rb")) as body:
            self.put(key, body)  # boto3's upload_file would hide S3's answer behind an error of its own

    def delete(self, keys: Iterable[str]) -> int:
        """Delete objects, a thousand per request; return how many."""
        batch: list[dict[str, str]] = []
        total = 0
        for key in keys:
            batch.append({"Key": self._key(key)})
            if len(batch) == DELETE_BATCH_SIZE:
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
                f"{self.service} did not delete {failed[0]['Key']}: {failed[0].get('Message', '')}"
            )
        return len(batch)

    def _key(self, relative: str) -> str:
        return f"{self.bucket.prefix}/{relative}" if self.bucket.prefix else relative

    def _create(self) -> None:
        region = self.client.meta.region_name
        is_default = self.bucket.endpoint_url or region in (None, "us-east-1")
        options = {} if is_default else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        self._call("create the bucket", lambda: self.client.create_bucket(Bucket=self.bucket.name, **options))

    def _call(self, verb: str, request: Callable[[], T]) -> T:
        """Return what a request returns; raise mlctl's errors for boto3's."""
        try:
            return request()
        except botocore.exceptions.ClientError as exc:
            raise self._response_error(verb, exc.response) from exc
        except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as exc:
            raise ConfigurationError(
                f"there are no credentials for {self.service}", CREDENTIALS_HINT
            ) from exc
        except botocore.exceptions.ParamValidationError as exc:
            raise UsageError(
                f"invalid bucket name {self.bucket.name!r}", "use 3 to 63 of a-z, 0-9, '-' and '.'"
            ) from exc
        except botocore.exceptions.BotoCoreError as exc:
            is_certificate = "SSL" in type(exc).__name__
            raise UnreachableError(
                f"{self.service} does not answer as S3 does: {one_line(exc)}",
                "name its certificate in AWS_CA_BUNDLE" if is_certificate else ENDPOINT_HINT,
            ) from exc
        except OSError as exc:
            raise RefusedError(f"cannot {verb}: {exc}", "check the file and the free disk space") from exc

    def _response_error(self, verb: str, reply: Any) -> MlctlError:
        """Return mlctl's error for an error response of S3."""
        code, metadata = str(reply.get("Error", {}).get("Code", "")), reply["ResponseMetadata"]
        status, headers = metadata["HTTPStatusCode"], metadata.get("HTTPHeaders", {})
        name = self.bucket.name
        if code == "NoSuchBucket":
            return NotFoundError(f"{self.service} has no bucket {name!r}", "check the bucket's name")
        if code in {"NoSuchKey", "NoSuchUpload"}:
            key = reply["Error"].get("Key", "")
            return NotFoundError(
                f"bucket {name!r} has no object {key!r}",
                "check its key, and whether it was deleted meanwhile",
            )
        if code == "RequestTimeTooSkewed":
            return ConfigurationError(
                f"this machine's clock is wrong: {self.service} says {headers.get('date', 'another time')}",
                "set the clock (timedatectl)",
            )
        if code in CREDENTIALS_CODES:
            return ConfigurationError(f"{self.service} refuses the credentials ({code})", CREDENTIALS_HINT)
        if status in {301, 307} or code in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
            region = headers.get("x-amz-bucket-region") or reply.get("Error", {}).get("Region")
            return ConfigurationError(
                f"bucket {name!r} is not in region {self.client.meta.region_name}",
                f"set the region: --region {region}" if region else "check --region and --endpoint-url",
            )
        if code == "AccessDenied" or status == 403:
            return RefusedError(
                f"these credentials may not {verb} in bucket {name!r}",
                "grant them s3:ListBucket, GetObject, PutObject and DeleteObject",
            )
        if code in {"BucketAlreadyExists", "BucketAlreadyOwnedByYou"}:
            return RefusedError(f"bucket {name!r} belongs to another account", "choose another name")
        if status >= 500:
            return UnreachableError(
                f"{self.service} failed to {verb}: {code} {status}", "try again in a moment"
            )
        return UnreachableError(f"{self.service} does not answer as S3 does ({status} {code})", ENDPOINT_HINT)


class S3Object:
    """An open object; an error while it is read is translated as one while it is opened is."""

    def __init__(self, response: Any, call: Callable[[str, Callable[[], bytes]], bytes]) -> None:
        self.etag = str(response["ETag"])
        self.size = int(response["ContentLength"])
        self._body = response["Body"]
        self._call = call

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes; all of them without a size."""
        return self._call("get", lambda: bytes(self._body.read(None if size < 0 else size)))

    def close(self) -> None:
        """Close the connection."""
        self._body.close()


def bucket_of_url(url: str) -> Bucket:
    """Return the bucket and prefix of s3://BUCKET/PREFIX, at the endpoint that boto3's own variables name."""
    parts = urlsplit(url)
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return Bucket(name=parts.netloc, prefix=parts.path.strip("/"), endpoint_url=endpoint)
