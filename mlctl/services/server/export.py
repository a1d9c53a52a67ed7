"""Write the files that run a tracking server: for Docker Compose, Kubernetes or nginx."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from mlctl.adapters.system import packaging
from mlctl.domain.server import Bucket, ExportedFiles
from mlctl.errors import UsageError
from mlctl.services.server.up import check_static_prefix

# the packages that a server's commands import, and those of the extras auth, mysql and postgres
PACKAGES = (
    "boto3",
    "filelock",
    "flask-wtf",
    "httptools",
    "mlflow",
    "orjson",
    "packaging",
    "platformdirs",
    "prometheus-client",
    "psutil",
    "psycopg2-binary",
    "pymysql",
    "pyyaml",
    "rich",
    "typer",
    "uvicorn",
    "uvloop",
)
KINDS = ("compose", "kubernetes", "nginx")
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
ADDRESS = r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9a-f:.]+\])"
PORT = r":(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
VALUE_FORMATS = {  # by option: a pattern, so that no value can break a file, and an example
    "--host": (rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*", "mlflow.example.com"),
    "--image": (r"[a-z0-9]([a-zA-Z0-9._/:@-]*[a-zA-Z0-9])?", "registry.example.com/mlctl:1.0"),
    "--upstream": (rf"{ADDRESS}{PORT}", "127.0.0.1:5000"),
    "--bucket": (r"(s3://)?[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]/?", "models"),
    "--prefix": (r"[A-Za-z0-9!_.*'()=@+,/-]*", "team/models"),
    "--endpoint-url": (rf"(https?://{ADDRESS}({PORT})?(/[A-Za-z0-9._~/-]*)?)?", "https://s3.example.com"),
    "--region": (r"[a-z0-9-]*", "eu-west-1"),
}


def render_files(
    kind: str,
    folder: Path,
    *,
    host: str,
    image: str,
    bucket: Bucket,
    database_port: int,
    upstreams: Sequence[str],
    static_prefix: str = "",
) -> ExportedFiles:
    """Return the files for one kind of deployment, with their content; `write_files` writes them into `folder`.

    Raises UsageError for an unknown kind, and for a value that would break a file.
    """
    if kind not in KINDS:
        raise UsageError(f"unknown value {kind!r} for --to", f"choose one of: {', '.join(KINDS)}")
    static_prefix = check_static_prefix(static_prefix)
    typed = [
        ("--host", host),
        ("--image", image),
        *(("--upstream", upstream) for upstream in upstreams),
        ("--bucket", bucket.name),
        ("--prefix", bucket.prefix),
        ("--endpoint-url", bucket.endpoint_url),
        ("--region", bucket.region),
    ]
    for option, value in typed:
        pattern, example = VALUE_FORMATS[option]
        if not re.fullmatch(pattern, value or ""):
            raise UsageError(f"invalid value {value!r} for {option}", f"example: {option} {example}")
    values = {
        "host": host,
        "image": image,
        "wheel": packaging.wheel_name(),
        "upstreams": "\n".join(f"  server {upstream} max_fails=1 fail_timeout=2s;" for upstream in upstreams),
        "static_prefix": static_prefix,
        "path": static_prefix or "/",
        "database_port": str(database_port),
        "bucket_port": str(_port(bucket.endpoint_url)),
    }
    arguments = _bucket_arguments(bucket)
    if static_prefix:
        arguments.append(f"--static-prefix={static_prefix}")
    files = {}
    if kind == "compose":
        pins = packaging.pinned_versions(PACKAGES)
        files["requirements.txt"] = "".join(f"{name}=={number}\n" for name, number in pins.items())
    templates = resources.files(__package__).joinpath("templates", kind).iterdir()
    for template in sorted(templates, key=lambda template: template.name):
        text = template.read_text(encoding="utf-8")
        command = next((line for line in text.splitlines() if line.endswith("- --foreground")), "")
        indent = command.partition("-")[0]
        values["bucket_arguments"] = "\n".join(f"{indent}- {argument}" for argument in arguments)
        files[template.name.replace("gitignore", ".gitignore")] = Template(text).substitute(values)
    return ExportedFiles(kind, str(folder), files)


def write_files(exported: ExportedFiles) -> ExportedFiles:
    """Write the files, replacing those that exist."""
    folder = Path(exported.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in exported.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if exported.kind == "compose":
        packaging.build_wheel(folder)
    return exported


def changed_files(exported: ExportedFiles) -> list[str]:
    """Return the names of the files that exist already with other content."""
    folder = Path(exported.folder)
    existing = [name for name in exported.files if (folder / name).exists()]
    return [name for name in existing if (folder / name).read_text(encoding="utf-8") != exported.files[name]]


def _bucket_arguments(bucket: Bucket) -> list[str]:
    options = {
        "bucket": bucket.name,
        "prefix": bucket.prefix,
        "endpoint-url": bucket.endpoint_url,
        "region": bucket.region,
    }
    return [f"--{option}={value}" for option, value in options.items() if value]


def _port(url: str | None) -> int:
    parts = urlsplit(url or "https://s3")
    return parts.port or (80 if parts.scheme == "http" else 443)
