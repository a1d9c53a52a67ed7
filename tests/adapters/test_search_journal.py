import pytest

from mlctl.adapters.runlog.search_journal import NAME, SearchJournal, read_entries
from mlctl.errors import BadDataError

pytestmark = pytest.mark.unit


def test_torn_last_line_is_dropped_and_overwritten(tmp_path):
    journal = SearchJournal(tmp_path)
    journal.add("search", request={})
    journal.close()
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"kind":"ask","tri')
    assert [entry["kind"] for entry in read_entries(tmp_path / NAME)] == ["search"]
    journal = SearchJournal(tmp_path)
    journal.add("ask", trial="0001")
    journal.close()
    assert [entry["kind"] for entry in read_entries(tmp_path / NAME)] == ["search", "ask"]


def test_error_names_any_other_damaged_line(tmp_path):
    (tmp_path / NAME).write_text('{"kind":"search"}\n{"kind":"as\n{"kind":"ask"}\n')
    with pytest.raises(BadDataError, match="line 2 is damaged"):
        list(read_entries(tmp_path / NAME))
