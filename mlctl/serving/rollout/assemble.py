"""Connect a worker with the rollouts and the shadow of its endpoint."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mlctl.serving.endpoint_spec import EndpointSpec
from mlctl.serving.invocations import Invocations
from mlctl.serving.rollout.comparison import COMPARE_PATH, CandidateRoutes
from mlctl.serving.rollout.traffic_split import TrafficSplit
from mlctl.serving.rollout.version_stats import SERVING, SHADOW, VersionStats
from mlctl.serving.router import Router


class VersionRole:
    """The role of a worker's version: it serves, or it is a candidate or a shadow until it takes the address."""

    def __init__(self, spec: EndpointSpec, invocations: Invocations, router: Router) -> None:
        self._spec = spec
        self._invocations = invocations
        self._router = router
        self._folder = Path(spec.scratch)
        if spec.role == SERVING:
            self.serve()
        else:
            stats = VersionStats(self._folder, spec.role, spec.serving.version)
            CandidateRoutes(invocations, stats).add_to(router)
        if spec.role == SHADOW:
            _lower_priority()

    def serve(self) -> None:
        """Serve from now on: share the requests with other versions."""
        if self._invocations.chooser is not None:
            return
        self._router.add("/invocations", self._invocations, methods=("POST",))
        self._router.remove(COMPARE_PATH)
        self._invocations.stats = VersionStats(self._folder, SERVING, self._spec.serving.version)
        split = TrafficSplit(self._folder, self._invocations)
        self._invocations.chooser = split.choose
        self._invocations.observers.append(split.observe)


def _lower_priority() -> None:
    """Let this process compute only while no other process wants to, as far as the system allows it."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
