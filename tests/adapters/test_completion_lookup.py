"""The lookup of names for completion gives the same for a file and for a real MLflow server over the same file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlctl.adapters.tracking import completion_lookup
from mlctl.adapters.tracking.completion_lookup import open_completion_store
from tests.mlflow_server import running


@pytest.fixture(scope="module")
def server(thousand_runs: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("server"), thousand_runs) as server:
        yield server.uri


@pytest.mark.live
def test_file_and_server_give_the_same(
    thousand_runs: str, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the answers matter here, however slow the machine is
    monkeypatch.setattr(completion_lookup, "CONNECT_TIMEOUT_S", 30)
    monkeypatch.setattr(completion_lookup, "READ_TIMEOUT_S", 30)
    file, http = open_completion_store(thousand_runs), open_completion_store(server)
    for prefix in ("digits-095", "digits-001", "03e7f", "009", "no such"):
        assert list(http.runs(prefix)) == list(file.runs(prefix))
    assert list(http.runs("")) == list(file.runs(""))[: completion_lookup.MAX_SERVER_RUNS]
    assert file.runs("")[0] == ("03e7" + "f" * 28, "digits-0999", "digits")
    assert set(http.experiments()) == set(file.experiments()) >= {"digits", 'it\'s "odd": one'}
    assert list(http.models()) == list(file.models()) == ["churn", "wine-quality"]
    assert list(http.versions("wine-quality")) == list(file.versions("wine-quality"))
    assert [version.aliases for version in file.versions("wine-quality")] == [(), ("champion",), ()]
    file.close()
    http.close()


def test_lookup_writes_nothing(thousand_runs: str) -> None:
    folder = Path(thousand_runs.removeprefix("sqlite:///")).parent
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    store = open_completion_store(thousand_runs)
    store.runs("")
    store.close()
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
