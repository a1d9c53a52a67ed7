"""What an endpoint writes to the registry about a rollout: `python -m mlctl.services.workflows.rollout_registry`.

The endpoint runs this as a child, so that it need not import what talks to the registry. It reads one line of JSON
from stdin, {"action": "record" or "promote", "endpoint", "rollout"}, and writes one line to stdout: {"ok": true}, or
{"error": reason, "retry": whether the registry could not be reached}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mlctl import credentials
from mlctl import settings as configuration
from mlctl.adapters.system import provenance
from mlctl.adapters.tracking.registry import Registry
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.registry import GateCheck, HistoryEntry
from mlctl.domain.rollout import parse_guard
from mlctl.errors import MlctlError, NotFoundError, UnreachableError
from mlctl.services.models.rollout_records import ROLLOUT, write_rollout
from mlctl.services.models.stages import PRODUCTION
from mlctl.services.registry.promote import PromotionRequest, promote
from mlctl.settings import Settings

Document = Mapping[str, Any]


def record(settings: Settings, endpoint: str, rollout: Document) -> None:
    """Write how a rollout ended to the model's history."""
    registry = Registry(TrackingStore(settings.tracking_uri))
    is_done = rollout["status"] == "done"
    plan = rollout["plan"]
    reached = f"{100 * rollout['last_share']:g}% of the requests"
    outcome = (
        "done" if is_done else f"{rollout['status']} at {reached}, version {rollout['old_version']} serves"
    )
    entry = HistoryEntry(
        at=datetime.fromtimestamp(rollout["ended"], UTC),
        by=provenance.acting_user(),
        action=ROLLOUT,
        stage="",
        version=rollout["version"],
        replaced=rollout["old_version"] if is_done else None,
        reason=f"endpoint {endpoint}: {outcome}: {rollout['reason']}",
        checks=_checks(plan["guards"], rollout),
    )
    write_rollout(registry, rollout["model"], rollout["id"], entry)


def promote_version(settings: Settings, endpoint: str, rollout: Document) -> str:
    """Promote the version to Production through all gates; return why that is refused, or ""."""
    reason = f"rolled out on the endpoint {endpoint}"
    answer = promote(
        settings, rollout["model"], rollout["version"], PRODUCTION, PromotionRequest(reason=reason)
    )
    failed = [
        f"{check.check} {check.wanted}, found {check.found}" for check in answer.checks if not check.holds
    ]
    return "; ".join(failed)


def answer(order: Document) -> Document:
    """Return the answer to an order."""
    rollout = order["rollout"]
    try:
        settings = configuration.load()  # the endpoint sets the tracking store of the rollout
        credentials.apply_to_environment(settings.tracking_uri)
        if order["action"] == "promote":
            refusal = promote_version(settings, order["endpoint"], rollout)
            return {"error": refusal, "retry": False} if refusal else {"ok": True}
        record(settings, order["endpoint"], rollout)
    except MlctlError as error:
        return {"error": error.message, "retry": isinstance(error, (UnreachableError, NotFoundError))}
    return {"ok": True}


def _checks(guards: list[str], rollout: Document) -> tuple[GateCheck, ...]:
    """Return the guards as checks; the breached one with the value that was found."""
    breach = rollout["breach"] or {}
    checks = [
        GateCheck(check=guard.metric, wanted=guard.wanted, found=None, holds=True)
        for guard in map(parse_guard, guards)
    ]
    return tuple(
        replace(check, found=breach["found"], holds=False)
        if (check.check, check.wanted) == (breach.get("check"), breach.get("wanted"))
        else check
        for check in checks
    )


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(sys.stdin.readline()))), flush=True)
