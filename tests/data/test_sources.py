"""Finding, fetching and digesting files, against a real web server that can be told to misbehave."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mlctl.data.sources import download, locate
from mlctl.data.sources.download import Download
from mlctl.data.sources.locate import Source
from mlctl.errors import BadDataError, ConfigurationError, NotFoundError, UnreachableError
from tests.parts.s3 import S3

BODY = os.urandom(1 << 20) + b"the end"


@dataclass
class Web:
    """A server of one body: `ranges` whether it knows them, `breaks` how many answers stop half-way."""

    url: str = ""
    body: bytes = BODY
    ranges: bool = True
    breaks: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def web() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.asked.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and state.ranges else 0
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

        def log_message(self, *said: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{server.server_port}/thing.npz"
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def wanted(web: Web, body: bytes = BODY) -> Download:
    return Download("thing.npz", web.url, hashlib.sha256(body).hexdigest())


def left(tmp_path: Path) -> set[str]:
    return {one.name for one in (tmp_path / "cache" / "downloads").glob("*") if one.suffix != ".lock"}


def test_the_order_of_places(tmp_path: Path, web: Web) -> None:
    places = [
        tmp_path / "given",
        tmp_path / "env",
        tmp_path / "here" / "data",
        tmp_path / "cache" / "downloads",
    ]
    for place in places:
        place.mkdir(parents=True)
        (place / "thing.npz").write_text(place.name)
    source = Source(given=str(places[0]), data_dir=places[1], cache_dir=tmp_path / "cache")
    assert source.file(wanted(web)).read_text() == "given"
    source = Source(data_dir=places[1], cache_dir=tmp_path / "cache")
    for place in places[1:]:
        found = source.file(wanted(web))
        assert found.read_text() == place.name
        found.unlink()
    assert source.file(wanted(web)).read_bytes() == BODY
    assert web.asked == [""]


def test_a_given_place_that_lacks_the_file_is_never_passed_over(tmp_path: Path, web: Web) -> None:
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "thing.npz").write_text("here")
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.json").write_text("{}")
    for given in ("empty", "nowhere", "words.json"):
        source = Source(str(tmp_path / given), data_dir=tmp_path / "env", cache_dir=tmp_path / "cache")
        with pytest.raises(NotFoundError, match=r"thing\.npz|no such file"):
            source.file(wanted(web))
    assert web.asked == []


def test_a_given_file_may_have_any_name_and_companions_lie_beside_it(tmp_path: Path, web: Web) -> None:
    mine = tmp_path / "mine.npz"
    mine.write_text("mine")
    (tmp_path / "index.json").write_text("{}")
    source = Source(str(mine), cache_dir=tmp_path / "cache")
    assert source.file(wanted(web)) == mine
    assert source.file(Download("index.json", web.url, "")) == tmp_path / "index.json"


def test_a_broken_connection_goes_on_where_it_broke(tmp_path: Path, web: Web) -> None:
    web.breaks = 2
    seen: list[tuple[int, int | None]] = []
    source = Source(
        cache_dir=tmp_path / "cache", progress=lambda name, done, total: seen.append((done, total))
    )
    assert source.file(wanted(web)).read_bytes() == BODY
    half = len(BODY) // 2
    assert web.asked == ["", f"bytes={half}-", f"bytes={half + (len(BODY) - half) // 2}-"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert left(tmp_path) == {"thing.npz"}


def test_a_server_without_ranges_begins_anew(tmp_path: Path, web: Web) -> None:
    web.breaks, web.ranges = 1, False
    assert Source(cache_dir=tmp_path / "cache").file(wanted(web)).read_bytes() == BODY
    assert len(web.asked) == 2


@pytest.mark.parametrize("stale", [b"x" * 100, b"x" * (len(BODY) + 5)], ids=["of another file", "too long"])
def test_a_stale_partial_file_is_thrown_away(tmp_path: Path, web: Web, stale: bytes) -> None:
    (tmp_path / "cache" / "downloads").mkdir(parents=True)
    (tmp_path / "cache" / "downloads" / "thing.npz.part").write_bytes(stale)
    assert Source(cache_dir=tmp_path / "cache").file(wanted(web)).read_bytes() == BODY
    assert left(tmp_path) == {"thing.npz"}


def test_a_connection_that_keeps_breaking_leaves_no_torn_file(tmp_path: Path, web: Web) -> None:
    web.breaks = 100
    with pytest.raises(UnreachableError, match="goes on from there"):
        Source(cache_dir=tmp_path / "cache").file(wanted(web))
    assert left(tmp_path) == {"thing.npz.part"}
    web.breaks = 0
    assert Source(cache_dir=tmp_path / "cache").file(wanted(web)).read_bytes() == BODY


def test_wrong_bytes_are_refused_and_not_kept(tmp_path: Path, web: Web) -> None:
    with pytest.raises(BadDataError, match="not the file that was published"):
        Source(cache_dir=tmp_path / "cache").file(wanted(web, b"other"))
    assert left(tmp_path) == set()
    assert len(web.asked) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/thing.npz", "http://nowhere.invalid/thing.npz"])
def test_offline_is_told_quickly_with_what_to_do(tmp_path: Path, url: str) -> None:
    started = time.monotonic()
    with pytest.raises(UnreachableError) as caught:
        Source(cache_dir=tmp_path / "cache", data_dir=tmp_path / "env").file(Download("thing.npz", url, ""))
    assert time.monotonic() - started < 5
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
    assert left(tmp_path) == set()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(download, "ANSWER_WITHIN_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/thing.npz"
        with pytest.raises(UnreachableError, match=r"no answer in 0\.3 s"):
            Source(cache_dir=tmp_path / "cache").file(Download("thing.npz", url, ""))


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path, web: Web) -> None:
    (tmp_path / "cache").write_text("a file, where a folder must be")
    with pytest.raises(ConfigurationError, match="cannot be written") as caught:
        Source(cache_dir=tmp_path / "cache").file(wanted(web))
    assert "MLCTL_CACHE_DIR" in caught.value.hint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_is_one_clear_error(tmp_path: Path, web: Web) -> None:
    (tmp_path / "cache" / "downloads").mkdir(parents=True)
    (tmp_path / "cache" / "downloads" / "thing.npz.part").symlink_to("/dev/full")
    with pytest.raises(ConfigurationError, match="No space left"):
        Source(cache_dir=tmp_path / "cache").file(wanted(web))
    assert left(tmp_path) == set()


def test_two_processes_fetch_once(tmp_path: Path, web: Web) -> None:
    code = (
        "import sys; from pathlib import Path; from mlctl.data.sources.locate import Source; from mlctl.data.sources.download import Download;"
        "print(Source(cache_dir=Path(sys.argv[1])).file(Download('thing.npz', *sys.argv[2:])).stat().st_size)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), web.url, wanted(web).sha256]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [int(one.communicate(timeout=60)[0]) for one in both] == [len(BODY)] * 2
    assert web.asked == [""]


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    content = os.urandom(200_000)
    for name, data in (("a", content), ("b", content), ("c", content[:-1] + bytes([content[-1] ^ 1]))):
        (tmp_path / name).write_bytes(data)
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    assert locate.sha256([a]) == locate.sha256([b]) == hashlib.sha256(content).hexdigest()
    assert locate.sha256([c]) != locate.sha256([a])
    assert locate.sha256([a, c]) == locate.sha256([b, c]) != locate.sha256([c, a])


@pytest.mark.needs("s3")
def test_a_bucket(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.url}.items():
        monkeypatch.setenv(name, value)
    bucket, client = s3.new_bucket(), s3.client()
    client.put_object(Bucket=bucket, Key="sets/thing.npz", Body=b"first")
    client.put_object(Bucket=bucket, Key="sets/index.json", Body=b"{}")
    thing, index = Download("thing.npz", "", ""), Download("index.json", "", "")

    def fetched(url: str, file: Download = thing) -> Path:
        return Source(url, cache_dir=tmp_path / "cache").file(file)

    first = fetched(f"s3://{bucket}/sets")
    assert first.read_bytes() == b"first"
    assert fetched(f"s3://{bucket}/sets/thing.npz") == first == fetched(f"s3://{bucket}/sets/")
    assert fetched(f"s3://{bucket}/sets/thing.npz", index).read_bytes() == b"{}"
    client.put_object(Bucket=bucket, Key="sets/thing.npz", Body=b"second, and longer")
    assert fetched(f"s3://{bucket}/sets").read_bytes() == b"second, and longer"
    for url in (f"s3://{bucket}/nowhere", "s3://nobucket/sets", "s3:///sets"):
        with pytest.raises(NotFoundError):
            fetched(url)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    with pytest.raises(ConfigurationError, match="denied"):
        fetched(f"s3://{bucket}/sets")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        fetched(f"s3://{bucket}/sets")
    assert time.monotonic() - started < 5
