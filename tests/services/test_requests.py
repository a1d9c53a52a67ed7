"""Requests keep the keys under which runs and journals store them."""

from __future__ import annotations

import json

import pytest

from mlctl.domain.cluster import Cluster
from mlctl.services.training.request import TrainRequest
from mlctl.services.tuning.request import TuneRequest

pytestmark = pytest.mark.unit

# the tag mlctl.request and the first line of a search's journal, as version 0.1.0 wrote them
TAG = (
    '{"source":"digits","given":{"epochs":5},"data":null,"rows":null,"seed":0,"patience":null,'
    '"precision":"auto","run_name":"first","tags":{"team":"vision"},"register":null,"parent":null,'
    '"offline":false,"checkpoint_every_s":60.0}'
)
ENTRY = (
    '{"source":"./tiny.py","algorithm":"random","trials":4,"executions":1,"parallel":1,"threads":0,'
    '"timeout_s":null,"given":{"learning_rate":"0.01"},"space":{"units":"4..16:4"},"objective":null,'
    '"stop":null,"finalists":0,"max_failures":3,"data":null,"rows":null,"seed":0,"precision":"auto",'
    '"run_name":null,"tags":{},"register":null,"cluster":{"address":"local:2","storage":null,"cpu":1.0,'
    '"gpu":0.0,"memory":null}}'
)


def test_a_training_request_is_read_from_and_written_to_its_tag() -> None:
    request = TrainRequest.from_tag(json.loads(TAG))
    assert request == TrainRequest(
        source="digits", overrides={"epochs": 5}, run_name="first", tags={"team": "vision"}
    )
    assert request.to_tag() == json.loads(TAG)


def test_a_search_request_is_read_from_and_written_to_its_journal() -> None:
    request = TuneRequest.from_journal(json.loads(ENTRY))
    assert request.overrides == {"learning_rate": "0.01"}
    assert isinstance(request.cluster, Cluster)
    assert request.to_journal() == json.loads(ENTRY)
