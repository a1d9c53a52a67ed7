"""Search algorithms: what they ask for depends on the past alone, and finite spaces are searched completely."""

import json
from collections import Counter

import pytest

from mlctl.adapters.keras import runtime

runtime.import_keras()

from mlctl.adapters.search.oracles import Oracle  # noqa: E402 - TensorFlow's messages are off now
from mlctl.domain.conditions import Comparison  # noqa: E402
from mlctl.domain.hyperband import count_trials, hyperband_brackets  # noqa: E402
from mlctl.domain.objective import Objective  # noqa: E402
from mlctl.domain.tune import Dimension  # noqa: E402
from mlctl.errors import BadDataError  # noqa: E402

UNITS = Dimension(name="units", default=64, choices=(), low=16, high=64, step=16, integer=True)
OPTIMIZER = Dimension(name="optimizer", default="adam", choices=("rmsprop", "adam"))
RATE = Dimension(name="rate", default=1e-3, choices=(), low=1e-4, high=1e-1, log=True)
DEPTH = Dimension(name="depth", default=1, low=1, high=3, step=1, integer=True)
CONDITIONAL = [
    *(
        Dimension(
            name=f"units_{number}",
            default=32,
            low=32,
            high=64,
            step=32,
            integer=True,
            condition=(Comparison("depth", ">=", (number,)),),
        )
        for number in (1, 2, 3)
    ),
    DEPTH,
]
MIXED = Dimension(name="drop", default=None, choices=(None, 0.5, "auto", (8, 4), True))
OBJECTIVE = Objective("val_accuracy", True)
ALGORITHMS = ["random", "grid", "bayesian", "hyperband"]
MAX_EPOCHS = 9


def make_oracle(algorithm, dimensions, trials):
    return Oracle(algorithm, dimensions, OBJECTIVE, trials=trials, seed=0, epochs=MAX_EPOCHS)


def score(values):
    return (
        values.get("units", 0) / 100
        + (0.2 if values.get("optimizer") == "adam" else 0)
        + values.get("rate", 0)
    )


def search(algorithm, dimensions, parallel=1, trials=12, max_calls=None, past_calls=()):
    """Search with trials that end in order; return the proposed trials, and all calls."""
    oracle = make_oracle(algorithm, dimensions, trials)
    proposals, running, calls = [], [], []
    for name, argument in past_calls:
        calls.append((name, argument))
        if name == "ask":
            oracle.replay(*argument)
            proposals.append(argument)
            running.append(argument)
        else:
            oracle.tell(*argument)
            running = [trial for trial in running if trial[0] != argument[0]]
    while True:
        while len(running) < parallel and not isinstance(answer := oracle.ask(), str):
            proposals.append(answer)
            running.append(answer)
            calls.append(("ask", answer))
        if not running:
            return proposals, calls
        trial, values = running.pop(0)
        oracle.tell(trial, score(values))
        calls.append(("tell", (trial, score(values))))
        if max_calls and len(calls) >= max_calls:
            return proposals, calls


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_replayed_search_continues_as_if_it_had_not_been_interrupted(algorithm):
    space = [UNITS, RATE] if algorithm != "grid" else [UNITS, OPTIMIZER]
    uninterrupted, _ = search(algorithm, space, trials=8)
    for max_calls in (3, 13):
        _, calls = search(algorithm, space, trials=8, max_calls=max_calls)
        assert search(algorithm, space, trials=8, past_calls=calls)[0] == uninterrupted


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_combination_of_a_finite_space_is_tried_once(algorithm):
    proposals, _ = search(algorithm, [UNITS, OPTIMIZER], trials=50)
    new_trials = [values for _, values in proposals if not values.get("tuner/trial_id")]
    combinations = [(values["units"], values["optimizer"]) for values in new_trials]
    assert len(combinations) == len(set(combinations)) == 8


@pytest.mark.parametrize("algorithm", ["random", "grid"])
def test_parallel_searches_try_the_same_values(algorithm):
    tried = [
        {str(values) for _, values in search(algorithm, [UNITS, OPTIMIZER], parallel, trials=6)[0]}
        for parallel in (1, 3)
    ]
    assert tried[0] == tried[1]
    assert len(tried[0]) == 6


def test_hyperband_continues_trials():
    proposals, _ = search("hyperband", [UNITS, RATE], trials=100)
    continued = [values for _, values in proposals if values.get("tuner/trial_id")]
    assert continued
    assert all(values["tuner/epochs"] > values["tuner/initial_epoch"] > 0 for values in continued)


def test_hyperband_runs_the_brackets_of_the_plan():
    proposals, _ = search("hyperband", [UNITS, RATE], trials=1000)
    run = Counter(
        (values["tuner/bracket"], values["tuner/epochs"], values["tuner/initial_epoch"])
        for _, values in proposals
    )
    brackets = hyperband_brackets(MAX_EPOCHS)
    planned = {
        (number, rung.epochs, rung.start_epoch): rung.trials
        for number, bracket in enumerate(reversed(brackets))
        for rung in bracket
    }
    assert sum(planned.values()) == len(proposals) == count_trials(brackets)
    assert run == planned
    oracle = make_oracle("hyperband", [UNITS, RATE], 1000)
    assert oracle.describe_end(len(proposals), True) == f"{len(proposals)} trials, all brackets"


def test_a_search_continues_after_failed_trials():
    oracle = make_oracle("bayesian", [UNITS, RATE], 20)
    for number in range(12):
        trial, values = oracle.ask()
        oracle.tell(trial, None if number % 3 == 0 else score(values))
    assert not isinstance(oracle.ask(), str)


def test_a_journal_with_other_values_is_refused():
    with pytest.raises(BadDataError, match="cannot be replayed"):
        make_oracle("random", [UNITS], 3).replay("0001", {"units": 1})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("high", "step"), [(0.3, 0.1), (0.65, 0.1)])
def test_fractional_steps_reach_the_end_of_the_range_and_stay_in_it(algorithm, high, step):
    dropout = Dimension(name="dropout", default=step, choices=(), low=0.0, high=high, step=step)
    # each trial of the Bayesian algorithm takes longer than the one before
    space = [dropout] if algorithm == "bayesian" else [dropout, OPTIMIZER]
    proposals, _ = search(algorithm, space, trials=50)
    values = sorted({trial_values["dropout"] for _, trial_values in proposals})
    assert len(values) == dropout.size
    assert values == [round(number * step, 3) for number in range(len(values))]
    assert high - step < values[-1] <= high


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("parallel", [1, 3])
def test_a_value_that_does_not_count_makes_no_further_combination(algorithm, parallel):
    proposals, _ = search(algorithm, CONDITIONAL, parallel, trials=100)
    new_trials = [
        {name: value for name, value in values.items() if not name.startswith("tuner/")}
        for _, values in proposals
        if not values.get("tuner/trial_id")
    ]
    assert len(new_trials) == len({str(sorted(values.items())) for values in new_trials}) == 2 + 4 + 8
    for values in new_trials:
        assert set(values) == {"depth", *(f"units_{number}" for number in range(1, values["depth"] + 1))}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_replayed_search_of_conditions_and_mixed_choices_continues(algorithm):
    space = [*CONDITIONAL, MIXED]
    uninterrupted, _ = search(algorithm, space, trials=10)
    _, calls = search(algorithm, space, trials=10, max_calls=9)
    as_json = json.loads(json.dumps(calls))
    past = [(name, tuple(argument)) for name, argument in as_json]
    continued, _ = search(algorithm, space, trials=10, past_calls=past)
    assert continued[len(past) :] == uninterrupted[len(past) :]
    assert json.loads(json.dumps(continued)) == json.loads(json.dumps(uninterrupted))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_choices_of_several_types_come_back_as_they_are(algorithm):
    space = [MIXED] if algorithm == "bayesian" else [MIXED, OPTIMIZER]
    proposals, _ = search(algorithm, space, trials=50)
    found = {repr(values["drop"]) for _, values in proposals}
    assert found == {"None", "0.5", "'auto'", "(8, 4)", "True"}
