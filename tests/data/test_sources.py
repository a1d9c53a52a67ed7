"""Finding, downloading and digesting files, with a real web server that can be made to fail."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlctl.data.sources import download as downloads
from mlctl.data.sources import locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, UnreachableError
from tests.parts.s3 import S3

BODY = os.urandom(1 << 20) + b"the end"


@dataclass
class WebServer:
    """A server of one body.

    `ranges`: whether it supports ranges; `breaks`: how many answers stop half-way; `requests`: ranges of all requests.
    """

    url: str = ""
    body: bytes = BODY
    ranges: bool = True
    breaks: int = 0
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[WebServer]:
    state = WebServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested = self.headers.get("Range", "")
            state.requests.append(requested)
            start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and state.ranges else 0
            if start >= len(state.body):
                self.send_error(416)
                return
            body = state.body[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.body) - 1}/{len(state.body)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.breaks:
                state.breaks -= 1
                body = body[: len(body) // 2]
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/thing.npz"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _work_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def download_of(web: WebServer, body: bytes = BODY) -> Download:
    return Download("thing.npz", web.url, hashlib.sha256(body).hexdigest())


def cached_files(tmp_path: Path) -> set[str]:
    files = (tmp_path / "cache" / "downloads").glob("*")
    return {file.name for file in files if file.suffix != ".lock"}


@pytest.mark.unit
def test_folders_are_searched_in_order(tmp_path: Path, web: WebServer) -> None:
    folders = [
        tmp_path / "location",
        tmp_path / "env",
        tmp_path / "here" / "data",
        tmp_path / "cache" / "downloads",
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "thing.npz").write_text(folder.name)
    source = Source(location=str(folders[0]), data_dir=folders[1], cache_dir=tmp_path / "cache")
    assert source.file(download_of(web)).read_text() == "location"
    source = Source(data_dir=folders[1], cache_dir=tmp_path / "cache")
    for folder in folders[1:]:
        file = source.file(download_of(web))
        assert file.read_text() == folder.name
        file.unlink()
    assert source.file(download_of(web)).read_bytes() == BODY
    assert web.requests == [""]


@pytest.mark.unit
def test_no_other_folder_is_searched_if_data_lacks_the_file(tmp_path: Path, web: WebServer) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thing.npz").write_text("here")
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.json").write_text("{}")
    for name in ("empty", "nowhere", "words.json"):
        source = Source(
            location=str(tmp_path / name), data_dir=tmp_path / "env", cache_dir=tmp_path / "cache"
        )
        with pytest.raises(NotFoundError, match=r"thing\.npz|no such file"):
            source.file(download_of(web))
    assert web.requests == []


@pytest.mark.unit
def test_file_of_any_name_is_used_with_other_files_beside_it(tmp_path: Path, web: WebServer) -> None:
    own_file = tmp_path / "mine.npz"
    own_file.write_text("mine")
    (tmp_path / "index.json").write_text("{}")
    source = Source(location=str(own_file), cache_dir=tmp_path / "cache")
    assert source.file(download_of(web)) == own_file
    assert source.file(Download("index.json", web.url, "")) == tmp_path / "index.json"


@pytest.mark.unit
def test_broken_download_is_resumed(tmp_path: Path, web: WebServer) -> None:
    web.breaks = 2
    calls: list[tuple[int, int | None]] = []
    source = Source(
        cache_dir=tmp_path / "cache", progress=lambda name, done, total: calls.append((done, total))
    )
    assert source.file(download_of(web)).read_bytes() == BODY
    half = len(BODY) // 2
    assert web.requests == ["", f"bytes={half}-", f"bytes={half + (len(BODY) - half) // 2}-"]
    assert calls[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert cached_files(tmp_path) == {"thing.npz"}


@pytest.mark.unit
def test_server_without_ranges_sends_everything_again(tmp_path: Path, web: WebServer) -> None:
    web.breaks, web.ranges = 1, False
    assert Source(cache_dir=tmp_path / "cache").file(download_of(web)).read_bytes() == BODY
    assert len(web.requests) == 2


@pytest.mark.unit
@pytest.mark.parametrize("stale", [b"x" * 100, b"x" * (len(BODY) + 5)], ids=["of another file", "too long"])
def test_wrong_partial_file_is_discarded(tmp_path: Path, web: WebServer, stale: bytes) -> None:
    (tmp_path / "cache" / "downloads").mkdir(parents=True)
    (tmp_path / "cache" / "downloads" / "thing.npz.part").write_bytes(stale)
    assert Source(cache_dir=tmp_path / "cache").file(download_of(web)).read_bytes() == BODY
    assert cached_files(tmp_path) == {"thing.npz"}


@pytest.mark.unit
def test_connection_that_keeps_breaking_leaves_only_a_partial_file(tmp_path: Path, web: WebServer) -> None:
    web.breaks = 100
    with pytest.raises(UnreachableError, match="the next attempt resumes there"):
        Source(cache_dir=tmp_path / "cache").file(download_of(web))
    assert cached_files(tmp_path) == {"thing.npz.part"}
    web.breaks = 0
    assert Source(cache_dir=tmp_path / "cache").file(download_of(web)).read_bytes() == BODY


@pytest.mark.unit
def test_wrong_file_is_refused_and_not_kept(tmp_path: Path, web: WebServer) -> None:
    with pytest.raises(BadDataError, match="not the file that was published"):
        Source(cache_dir=tmp_path / "cache").file(download_of(web, b"other"))
    assert cached_files(tmp_path) == set()
    assert len(web.requests) == 1


@pytest.mark.unit
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/thing.npz", "http://nowhere.invalid/thing.npz"])
def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, url: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        Source(cache_dir=tmp_path / "cache", data_dir=tmp_path / "env").file(Download("thing.npz", url, ""))
    assert "thing.npz" in caught.value.message
    for part in (
        str(tmp_path / "env"),
        "data",
        "cache",
        "--data PATH",
        "MLCTL_DATA_DIR",
        "mlctl train digits",
    ):
        assert part in caught.value.hint
    assert cached_files(tmp_path) == set()


@pytest.mark.unit
def test_server_that_never_answers_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/thing.npz"
        with pytest.raises(UnreachableError, match=r"no answer in 0\.3 s"):
            Source(cache_dir=tmp_path / "cache").file(Download("thing.npz", url, ""))


@pytest.mark.unit
def test_unwritable_cache_is_a_configuration_error(tmp_path: Path, web: WebServer) -> None:
    (tmp_path / "cache").write_text("a file instead of a folder")
    with pytest.raises(ConfigurationError, match="cannot write") as caught:
        Source(cache_dir=tmp_path / "cache").file(download_of(web))
    assert "MLCTL_CACHE_DIR" in caught.value.hint


@pytest.mark.unit
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full exists only on Linux")
def test_full_disk_is_a_configuration_error(tmp_path: Path, web: WebServer) -> None:
    (tmp_path / "cache" / "downloads").mkdir(parents=True)
    (tmp_path / "cache" / "downloads" / "thing.npz.part").symlink_to("/dev/full")
    with pytest.raises(ConfigurationError, match="No space left"):
        Source(cache_dir=tmp_path / "cache").file(download_of(web))
    assert cached_files(tmp_path) == set()


def test_two_processes_download_once(tmp_path: Path, web: WebServer) -> None:
    code = (
        "import sys; from pathlib import Path; from mlctl.data.sources.locate import Source; from mlctl.data.sources.download import Download;"
        "print(Source(cache_dir=Path(sys.argv[1])).file(Download('thing.npz', *sys.argv[2:])).stat().st_size)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), web.url, download_of(web).sha256]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [int(process.communicate(timeout=60)[0]) for process in processes] == [len(BODY)] * 2
    assert web.requests == [""]


@pytest.mark.unit
def test_digest_depends_on_the_content_only(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    for name, data in (("a", content), ("b", content), ("c", content[:-1] + bytes([content[-1] ^ 1]))):
        (tmp_path / name).write_bytes(data)
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    assert locate.sha256([a]) == locate.sha256([b]) == hashlib.sha256(content).hexdigest()
    assert locate.sha256([c]) != locate.sha256([a])
    assert locate.sha256([a, c]) == locate.sha256([b, c]) != locate.sha256([c, a])


@pytest.mark.live
@pytest.mark.needs("s3")
def test_data_in_a_bucket(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.url}.items():
        monkeypatch.setenv(name, value)
    bucket, client = s3.new_bucket(), s3.client()
    client.put_object(Bucket=bucket, Key="sets/thing.npz", Body=b"first")
    client.put_object(Bucket=bucket, Key="sets/index.json", Body=b"{}")
    thing, index = Download("thing.npz", "", ""), Download("index.json", "", "")

    def fetch(url: str, file: Download = thing) -> Path:
        return Source(location=url, cache_dir=tmp_path / "cache").file(file)

    first = fetch(f"s3://{bucket}/sets")
    assert first.read_bytes() == b"first"
    assert fetch(f"s3://{bucket}/sets/thing.npz") == first == fetch(f"s3://{bucket}/sets/")
    assert fetch(f"s3://{bucket}/sets/thing.npz", index).read_bytes() == b"{}"
    client.put_object(Bucket=bucket, Key="sets/thing.npz", Body=b"second, and longer")
    assert fetch(f"s3://{bucket}/sets").read_bytes() == b"second, and longer"
    for url in (f"s3://{bucket}/nowhere", "s3://nobucket/sets", "s3:///sets"):
        with pytest.raises(NotFoundError):
            fetch(url)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(ConfigurationError, match="refuses the credentials"):
        fetch(f"s3://{bucket}/sets")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        fetch(f"s3://{bucket}/sets")
