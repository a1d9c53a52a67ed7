"""mlctl sync: send what runs on this machine have recorded and a store has not taken yet."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.runlog import local_runs, trial_runs
from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.outbox import Sender
from mlctl.adapters.runlog.recorder import LOCAL_ID, create_run, open_store
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import SyncedRun, SyncReport
from mlctl.errors import MlctlError, NotFoundError, RefusedError
from mlctl.settings import Settings


def sync(settings: Settings, listener: ProgressListener) -> SyncReport:
    """Send every record that is not being written; each counts once, however often it is sent.

    Each goes to the store that it was begun for. With --tracking-uri what goes is what that store can take:
    records of runs that it knows, and those that have no run yet. Raises what a store that is away raises,
    after all other records were tried.
    """
    asked_for = settings.sources.get("tracking_uri", "").startswith("option")
    synced: list[SyncedRun] = []
    failure: MlctlError | None = None
    for folder in local_runs.folders(settings.state_dir):
        try:
            journal = Journal(folder)
        except RefusedError:
            listener.message(f"run {folder.name[:8]} is being written: left alone")
            continue
        try:
            gone = not journal.about  # another sync was just ahead
            if not gone:
                if asked_for and not _moved(journal, settings.tracking_uri):
                    listener.message(f"run {folder.name[:8]} is of another store: left alone")
                    continue
                synced.append(_sent(journal, listener))
                gone = synced[-1].status == "FINISHED"
        except MlctlError as error:
            failure, gone = error, False
        finally:
            journal.close(remove=gone)
    if failure:
        raise failure
    return SyncReport(tuple(synced))


def _moved(journal: Journal, tracking_uri: str) -> bool:
    """Let a record go to this store from now on; return whether the store can take it."""
    run_id = journal.about.get("run_id")
    if run_id:
        try:
            store = open_store(tracking_uri)
            with store.asking():
                store.client.get_run(run_id)
        except NotFoundError:
            return False
    journal.describe(tracking_uri=tracking_uri)
    return True


def _sent(journal: Journal, listener: ProgressListener) -> SyncedRun:
    about = journal.about
    store = open_store(about["tracking_uri"])
    if not about.get("run_id"):
        journal.describe(**_run_of(store, journal))
        about = journal.about
    sender = Sender(store, about["run_id"], about["experiment_id"], journal)
    done = journal.sent
    count = 0
    for entry in journal.entries(done):
        sender.send(entry)
        count += 1
        journal.acknowledge(done + count)
    count += trial_runs.send_unsent(
        store, about["experiment_id"], about["run_id"], journal.folder, listener.message
    )
    return SyncedRun(about["run_id"], local_runs.as_run(journal).status, count, Path(journal.folder))


def _run_of(store: TrackingStore, journal: Journal) -> dict[str, str]:
    """Return the ids of an offline record's run: made now, unless a crash came between making and noting it."""
    about = journal.about
    tag = {LOCAL_ID: journal.folder.name}
    with store.asking():
        experiment = store.client.get_experiment_by_name(about["experiment"])
        if experiment:
            found = store.client.search_runs(
                [experiment.experiment_id], f"tags.`{LOCAL_ID}` = '{journal.folder.name}'"
            )
            if found:
                return {"experiment_id": experiment.experiment_id, "run_id": found[0].info.run_id}
    return create_run(store, {**about, "tags": {**about["tags"], **tag}}, journal.folder.parents[1])
