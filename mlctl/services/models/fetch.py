"""From MODEL to its files on this disk."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.models.load import fetched
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.services.models.select import resolve
from mlctl.serving.endpoint_spec import Serving
from mlctl.settings import Settings


def located(settings: Settings, model: str, scratch: Path) -> Serving:
    """Return the model that MODEL names, its files fetched into `scratch` where they lie elsewhere.

    Raises as `resolve` and `fetched` do.
    """
    found = resolve(settings, model)
    store = TrackingStore(settings.tracking_uri)
    place = scratch / f"model-{found.version or 'one'}"
    place.mkdir(exist_ok=True)
    folder = fetched(store, found.uri, place)
    name = found.name or (found.run_id or "")[:8] or Path(model).name
    return Serving(name, found.version or "", found.uri, str(folder))
