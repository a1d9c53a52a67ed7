from mlctl.domain.run import Run
from mlctl.services.runs.watch_search import search_now


def run(run_id, status="FINISHED", params=None, metrics=None, **tags):
    tags = {name.replace("__", "."): value for name, value in tags.items()}
    return Run(
        run_id,
        run_id,
        "e",
        status,
        "sqlite://",
        "tiny",
        params or {},
        metrics or {},
        tags,
        None,
        None,
        None,
        None,
    )


class FakeStore:
    """Three trials, one of which still runs, and a finalist; it counts whose history it is asked for."""

    def __init__(self):
        self.asked = []
        self.runs = [
            run("c", "RUNNING", {"units": "8"}, {"val_mae": 3.0}, mlctl__trial="0003"),
            run("a", params={"units": "4"}, metrics={"best_val_mae": 2.0, "val_mae": 2.5}, mlctl__trial="0001",
                mlctl__state="stopped", mlctl__why="worse", mlctl__duration_s="1.5"),
            run("b", "FAILED", {"units": "6"}, mlctl__trial="0002", mlctl__state="failed", mlctl__error="NaN"),
            run("f", metrics={"val_loss": 1.0}, mlctl__trial="final-0001"),
        ]  # fmt: skip

    def search(self, conditions, experiment):
        return iter(self.runs)

    def history(self, run_id, metric):
        self.asked.append(run_id)
        return ((1, 4.0), (2, 2.5))


def test_a_search_is_seen_from_its_runs():
    store = FakeStore()
    parent = run("p", "RUNNING", mlctl__kind="search", mlctl__objective="min:val_mae", mlctl__search__trials="9",
                 mlctl__search__epochs="5")  # fmt: skip
    now = search_now(store, parent, None)
    assert [(one.trial, one.state, one.score, one.epochs, one.why) for one in now.ended] == [
        ("0001", "stopped", 2.0, 2, "worse"),
        ("0002", "failed", None, 0, "NaN"),
    ]
    assert [(one.trial, one.epoch, one.epochs, one.value) for one in now.running] == [("0003", 2, 5, 2.5)]
    assert (now.total, now.best.trial) == (9, "0001")
    store.asked.clear()
    assert search_now(store, parent, now) == now
    assert store.asked == ["c"]  # what has ended is not asked for again


def test_a_training_is_no_search():
    assert search_now(FakeStore(), run("t", mlctl__objective="min:val_mae"), None) is None
