"""The specification of an endpoint, which `mlctl serve` sends to the serving process as one line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ServedVersion:
    """A model version to serve.

    Attributes:
        name: Name of the registered model, or a name derived from the run or folder.
        version: Version number, or "" for a model outside the registry.
        uri: MLflow URI, or the folder, that the user selected.
        folder: Folder on this machine that holds the model's files.
    """

    name: str
    version: str
    uri: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """Everything that the supervisor and its workers need to know.

    The field names are the keys of the JSON line. A supervisor that started before an upgrade of mlctl sends
    them to workers of the new version, so they must not change.

    Attributes:
        serving: The model version to serve.
        endpoint: Name of the endpoint.
        url: Address that clients on this machine use.
        socket_fd: Inherited file descriptor of the listening socket.
        workers: Number of worker processes.
        scratch: Temporary folder of this endpoint.
        log: Log file, or "" if the endpoint runs in the foreground.
        state_file: File that describes the running endpoint for `mlctl endpoints`.
        ready_fd: Inherited pipe that receives one line of JSON once the endpoint is ready or has failed.
        key_file: API key file; None accepts every client.
        tls_cert: Certificate in PEM format; None serves plain HTTP.
        tls_key: Private key of the certificate.
        metrics: Serve Prometheus metrics at /metrics.
        max_body: Largest request body in bytes, after decompression.
        timeout_s: Seconds that a client has to send its request, and the model has to answer it.
        hosts: Accepted Host names; None accepts all.
        follow: Command that prints a `ServedVersion` as a line of JSON when another version must be served.
        max_queue: Number of requests that may wait for a thread in each worker.
        allow_signature_change: Serve later versions whose input or answers have another signature too.
        log_size: Bytes of the log after which a new file is begun.
        strict: Refuse unknown columns and keys, and gaps in columns that had none in training.
        local_fd: Inherited descriptor of a listening Unix socket, at which a worker answers before it takes the
            endpoint's address; the supervisor sets it.
        trial_s: Shortest time for which the workers of the version before forward requests to a new version.
        role: "serving", or "candidate" or "shadow" for workers to which other workers send requests.
        shadow: The version that gets copies of requests; None for no shadow.
        shadow_share: Share of the requests of which the shadow gets copies.
        cors: Origins whose pages may use the endpoint from a browser; "*" stands for all.
        convert: Command that converts the model in a folder to ONNX in another folder; () serves models as they are.
        converted: Folder for converted models.
        batch: Whether requests of several connections are answered in one call of the model: "auto", "off", or the
            most rows of such a call.
        log_requests: Share of the requests that are logged, with their answers.
        redact: Input columns that are not logged.
        notify: Who is told about drift, as `NotifyTarget.from_json` takes it.
    """

    serving: ServedVersion
    endpoint: str
    url: str
    socket_fd: int
    workers: int
    scratch: str
    log: str = ""
    state_file: str = ""
    ready_fd: int | None = None
    key_file: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    metrics: bool = True
    max_body: int = 10_000_000
    timeout_s: float = 30.0
    hosts: tuple[str, ...] | None = None
    follow: tuple[str, ...] = ()
    max_queue: int = 64
    allow_signature_change: bool = False
    log_size: int = 10_000_000
    strict: bool = False
    local_fd: int | None = None
    trial_s: float = 30.0
    cors: tuple[str, ...] = ()
    role: str = "serving"
    shadow: ServedVersion | None = None
    shadow_share: float = 1.0
    convert: tuple[str, ...] = ()
    converted: str = ""
    batch: str = "auto"
    log_requests: float = 0.0
    redact: tuple[str, ...] = ()
    notify: Mapping[str, Any] | None = field(default=None, repr=False)

    def to_line(self) -> bytes:
        """Return the specification as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def read_spec(line: bytes | str) -> EndpointSpec:
    """Return the specification in a line of JSON."""
    fields = json.loads(line)
    fields["serving"] = ServedVersion(**fields["serving"])
    fields["hosts"] = None if fields["hosts"] is None else tuple(fields["hosts"])
    fields["follow"] = tuple(fields["follow"])
    fields["shadow"] = ServedVersion(**fields["shadow"]) if fields.get("shadow") else None
    fields["cors"] = tuple(fields.get("cors", ()))
    fields["convert"] = tuple(fields.get("convert", ()))
    fields["redact"] = tuple(fields.get("redact", ()))
    return EndpointSpec(**fields)
