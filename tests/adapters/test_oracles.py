from collections import Counter

import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl.adapters.search.oracles import Oracle  # noqa: E402 - TensorFlow's chatter is off by now
from mlctl.domain.hyperband import brackets, trials_of  # noqa: E402
from mlctl.domain.objective import Objective  # noqa: E402
from mlctl.domain.tune import Dimension  # noqa: E402
from mlctl.errors import BadDataError  # noqa: E402

UNITS = Dimension("units", 64, (), 16, 64, 16, integer=True)
OPTIMIZER = Dimension("optimizer", "adam", ("rmsprop", "adam"))
RATE = Dimension("rate", 1e-3, (), 1e-4, 1e-1, log=True)
OBJECTIVE = Objective("val_accuracy", True)
ALGORITHMS = ["random", "grid", "bayesian", "hyperband"]


def score(values):
    return (
        values.get("units", 0) / 100
        + (0.2 if values.get("optimizer") == "adam" else 0)
        + values.get("rate", 0)
    )


def play(algorithm, dimensions, at_once=1, trials=12, until=None, past=()):
    """Ask and tell like a search whose trials end in order; return what was asked, and all that happened."""
    oracle = Oracle(algorithm, dimensions, OBJECTIVE, trials, seed=0, epochs=9)
    asked, running, happened = [], [], []
    for kind, what in past:
        happened.append((kind, what))
        if kind == "ask":
            oracle.replay(*what)
            asked.append(what)
            running.append(what)
        else:
            oracle.tell(*what)
            running = [one for one in running if one[0] != what[0]]
    while True:
        while len(running) < at_once and not isinstance(answer := oracle.ask(), str):
            asked.append(answer)
            running.append(answer)
            happened.append(("ask", answer))
        if not running:
            return asked, happened
        trial, values = running.pop(0)
        oracle.tell(trial, score(values))
        happened.append(("tell", (trial, score(values))))
        if until and len(happened) >= until:
            return asked, happened


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_search_rebuilt_from_what_happened_goes_on_as_if_never_interrupted(algorithm):
    space = [UNITS, RATE] if algorithm != "grid" else [UNITS, OPTIMIZER]
    whole, _ = play(algorithm, space)
    for until in (3, 15):
        _, past = play(algorithm, space, until=until)
        assert play(algorithm, space, past=past)[0] == whole


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_small_space_is_walked_once_and_then_exhausted(algorithm):
    found, _ = play(algorithm, [UNITS, OPTIMIZER], trials=50)
    fresh = [one[1] for one in found if not one[1].get("tuner/trial_id")]
    combinations = [(one["units"], one["optimizer"]) for one in fresh]
    assert len(combinations) == len(set(combinations)) == 8


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_any_number_at_once_tries_the_same_set(algorithm):
    sets = [
        {str(one[1]) for one in play(algorithm, [UNITS, OPTIMIZER], at_once, trials=6)[0]}
        for at_once in (1, 3)
    ]
    assert sets[0] == sets[1]
    assert len(sets[0]) == 6


def test_hyperband_goes_on_from_the_better_trials():
    found, _ = play("hyperband", [UNITS, RATE], trials=100)
    continued = [values for _, values in found if values.get("tuner/trial_id")]
    assert continued
    assert all(one["tuner/epochs"] > one["tuner/initial_epoch"] > 0 for one in continued)


def test_hyperbands_brackets_are_the_ones_that_are_told_beforehand():
    found, _ = play("hyperband", [UNITS, RATE], trials=1000)  # of 9 epochs
    walked = Counter(
        (one["tuner/bracket"], one["tuner/epochs"], one["tuner/initial_epoch"]) for _, one in found
    )
    told = {
        (number, rung.epochs, rung.after): rung.trials
        for number, bracket in enumerate(reversed(brackets(9))) for rung in bracket
    }  # fmt: skip
    assert sum(told.values()) == len(found) == trials_of(brackets(9))
    assert walked == told
    assert Oracle("hyperband", [UNITS, RATE], OBJECTIVE, 1000, 0, 9).ended(len(found), True) == (
        f"{len(found)} trials, all brackets"
    )


def test_failed_trials_are_told_and_the_search_goes_on():
    oracle = Oracle("bayesian", [UNITS, RATE], OBJECTIVE, 20, 0, 9)
    for number in range(12):
        trial, values = oracle.ask()
        oracle.tell(trial, None if number % 3 == 0 else score(values))
    assert not isinstance(oracle.ask(), str)


def test_a_journal_of_other_answers_is_refused():
    with pytest.raises(BadDataError, match="cannot be asked again"):
        Oracle("random", [UNITS], OBJECTIVE, 3, 0, 9).replay("0001", {"units": 1})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("high", "step"), [(0.3, 0.1), (0.65, 0.1)])
def test_steps_that_are_no_whole_numbers_reach_the_end_and_stay_in_the_range(algorithm, high, step):
    dropout = Dimension("dropout", step, (), 0.0, high, step)
    found, _ = play(algorithm, [dropout, OPTIMIZER], trials=50)
    values = sorted({one[1]["dropout"] for one in found})
    assert len(values) == dropout.size
    assert values == [round(number * step, 3) for number in range(len(values))]
    assert high - step < values[-1] <= high
