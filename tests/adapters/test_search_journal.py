import subprocess
import sys

import pytest

from mlctl.adapters.search_journal import NAME, SearchJournal, read
from mlctl.errors import BadDataError, RefusedError


def test_a_torn_last_line_is_dropped_and_written_over(tmp_path):
    journal = SearchJournal(tmp_path)
    journal.add("search", request={})
    journal.close()
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"kind":"ask","tri')
    assert [entry["kind"] for entry in read(tmp_path / NAME)] == ["search"]
    journal = SearchJournal(tmp_path)
    journal.add("ask", trial="0001")
    journal.close()
    assert [entry["kind"] for entry in read(tmp_path / NAME)] == ["search", "ask"]


def test_any_other_damage_is_said_with_its_line(tmp_path):
    (tmp_path / NAME).write_text('{"kind":"search"}\n{"kind":"as\n{"kind":"ask"}\n')
    with pytest.raises(BadDataError, match="line 2 is damaged"):
        list(read(tmp_path / NAME))


def test_two_processes_cannot_run_one_search(tmp_path):
    journal = SearchJournal(tmp_path)
    again = "import sys; from pathlib import Path; from mlctl.adapters.search_journal import SearchJournal\n"
    again += "SearchJournal(Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", again, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert RefusedError.__name__ in done.stderr
    journal.close()
