"""Writing what a team commits to run a server: for docker compose, Kubernetes or nginx."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from mlctl.adapters.system import packaging
from mlctl.domain.server import Bucket, Exported
from mlctl.errors import UsageError

# what a server's commands import, and the extras auth and postgres
NEEDED = (
    "boto3", "filelock", "flask-wtf", "httptools", "mlflow", "orjson", "packaging", "platformdirs",
    "prometheus-client", "psutil", "psycopg2-binary", "pyyaml", "rich", "typer", "uvicorn", "uvloop",
)  # fmt: skip
KINDS = ("compose", "kubernetes", "nginx")
LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
ADDRESS = r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9a-f:.]+\])"
PORT = r":(6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
WANTED = {  # by option: how a value may be written, so that no file can be broken by it, and an example
    "--host": (rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*", "mlflow.example.com"),
    "--image": (r"[a-z0-9]([a-zA-Z0-9._/:@-]*[a-zA-Z0-9])?", "registry.example.com/mlctl:1.0"),
    "--upstream": (rf"{ADDRESS}{PORT}", "127.0.0.1:5000"),
    "--bucket": (r"(s3://)?[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]/?", "models"),
    "--prefix": (r"[A-Za-z0-9!_.*'()=@+,/-]*", "team/models"),
    "--endpoint-url": (rf"(https?://{ADDRESS}({PORT})?(/[A-Za-z0-9._~/-]*)?)?", "https://s3.example.com"),
    "--region": (r"[a-z0-9-]*", "eu-west-1"),
}


def export(
    kind: str, folder: Path, host: str, image: str, bucket: Bucket, database_port: int, upstream: str
) -> Exported:
    """Return the files that would be written into `folder`, as they would be; `write` writes them.

    Raises UsageError for values that would break a file.
    """
    if kind not in KINDS:
        raise UsageError(f"--to {kind!r} is not known", f"known are: {', '.join(KINDS)}")
    given = {
        "--host": host, "--image": image, "--upstream": upstream, "--bucket": bucket.name,
        "--prefix": bucket.prefix, "--endpoint-url": bucket.endpoint_url, "--region": bucket.region,
    }  # fmt: skip
    for option, value in given.items():
        pattern, example = WANTED[option]
        if not re.fullmatch(pattern, value or ""):
            raise UsageError(
                f"{option} {value!r} cannot be written into these files", f"write it as {example}"
            )
    values = {
        "host": host,
        "image": image,
        "wheel": packaging.wheel_name(),
        "upstream": upstream,
        "database_port": str(database_port),
        "bucket_port": str(_port(bucket.endpoint_url)),
    }
    files = {}
    if kind == "compose":
        pins = packaging.pinned(NEEDED)
        files["requirements.txt"] = "".join(f"{name}=={number}\n" for name, number in pins.items())
    for template in sorted(
        resources.files(__package__).joinpath("templates", kind).iterdir(), key=lambda one: one.name
    ):
        text = template.read_text(encoding="utf-8")
        indent = next((line for line in text.splitlines() if line.endswith("- --foreground")), "").partition(
            "-"
        )[0]
        values["bucket_arguments"] = "\n".join(f"{indent}- {one}" for one in _arguments(bucket))
        files[template.name.replace("gitignore", ".gitignore")] = Template(text).substitute(values)
    return Exported(kind, str(folder), files)


def write(exported: Exported) -> Exported:
    """Write the files; what is there already is replaced."""
    folder = Path(exported.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in exported.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if exported.kind == "compose":
        packaging.wheel(folder)
    return exported


def replaced(exported: Exported) -> list[str]:
    """Return the files that are there already, with another content."""
    folder = Path(exported.folder)
    there = [name for name in exported.files if (folder / name).exists()]
    return [name for name in there if (folder / name).read_text(encoding="utf-8") != exported.files[name]]


def _arguments(bucket: Bucket) -> list[str]:
    given = {
        "bucket": bucket.name,
        "prefix": bucket.prefix,
        "endpoint-url": bucket.endpoint_url,
        "region": bucket.region,
    }
    return [f"--{option}={value}" for option, value in given.items() if value]


def _port(url: str | None) -> int:
    parts = urlsplit(url or "https://s3")
    return parts.port or (80 if parts.scheme == "http" else 443)
