"""mlctl sync: send what runs on this machine have recorded and a store does not have yet."""

from __future__ import annotations

from pathlib import Path

from mlctl.adapters.runlog import local_runs, trial_runs
from mlctl.adapters.runlog.journal import Journal
from mlctl.adapters.runlog.recorder import LOCAL_ID, create_run, open_store
from mlctl.adapters.runlog.run_sender import RunSender
from mlctl.adapters.tracking.store import TrackingStore
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import SyncedRun, SyncReport
from mlctl.errors import MlctlError, NotFoundError, RefusedError
from mlctl.settings import Settings


def sync(settings: Settings, listener: ProgressListener) -> SyncReport:
    """Send every record that no process is writing; each entry counts once, however often it is sent.

    A record goes to the store of its run. With --tracking-uri, the records go to that store, if it can take
    them: records of runs that it has, and records that have no run yet. If a store does not answer, all other
    records are tried first, and then its error is raised.
    """
    store_was_typed = settings.sources.get("tracking_uri", "").startswith("option")
    stores: dict[str, TrackingStore] = {}
    synced: list[SyncedRun] = []
    failure: MlctlError | None = None
    for folder in local_runs.record_folders(settings.state_dir):
        try:
            journal = Journal(folder)
        except RefusedError:
            listener.message(f"run {folder.name[:8]} is being written: skipped")
            continue
        done = not journal.header  # another sync has just sent it
        try:
            if not done:
                uri = settings.tracking_uri if store_was_typed else journal.header["tracking_uri"]
                if uri not in stores:
                    stores[uri] = open_store(uri)
                if store_was_typed and not _redirect(journal, stores[uri]):
                    listener.message(f"run {folder.name[:8]} belongs to another store: skipped")
                    continue
                synced.append(_send(journal, stores[uri], listener))
                done = synced[-1].status == "FINISHED"
        except MlctlError as error:
            failure, done = error, False
        finally:
            journal.close(remove=done)
    if failure:
        raise failure
    return SyncReport(tuple(synced))


def _redirect(journal: Journal, store: TrackingStore) -> bool:
    """Let a record go to this store from now on; return whether the store can take it."""
    run_id = journal.header.get("run_id")
    if run_id:
        try:
            with store.translate_errors():
                store.mlflow_client.get_run(run_id)
        except NotFoundError:
            return False
    journal.update_header(tracking_uri=store.tracking_uri)
    return True


def _send(journal: Journal, store: TrackingStore, listener: ProgressListener) -> SyncedRun:
    if not journal.header.get("run_id"):
        journal.update_header(**_run_ids(store, journal))
    header = journal.header
    sender = RunSender(store, header["run_id"], header["experiment_id"], journal)
    already_sent = journal.sent
    count = 0
    for entry in journal.entries(already_sent):
        sender.send(entry)
        count += 1
        journal.acknowledge(already_sent + count)
    count += trial_runs.send_unsent(
        store,
        experiment_id=header["experiment_id"],
        parent_id=header["run_id"],
        folder=journal.folder,
        report=listener.message,
    )
    return SyncedRun(
        run_id=header["run_id"],
        status=local_runs.to_run(journal).status,
        sent=count,
        folder=Path(journal.folder),
    )


def _run_ids(store: TrackingStore, journal: Journal) -> dict[str, str]:
    """Return the ids of an offline record's run: an earlier sync's, if it crashed before it noted them, or new."""
    header = journal.header
    tag = {LOCAL_ID: journal.folder.name}
    with store.translate_errors():
        experiment = store.mlflow_client.get_experiment_by_name(header["experiment"])
        if experiment:
            runs = store.mlflow_client.search_runs(
                [experiment.experiment_id], f"tags.`{LOCAL_ID}` = '{journal.folder.name}'"
            )
            if runs:
                return {"experiment_id": experiment.experiment_id, "run_id": runs[0].info.run_id}
    return create_run(store, {**header, "tags": {**header["tags"], **tag}}, journal.folder.parents[1])
