"""mlctl train, for a user's own script."""

from __future__ import annotations

from mlctl.adapters.ray import cluster_access
from mlctl.adapters.scripts.execution import find_program
from mlctl.domain.cluster import Cluster
from mlctl.domain.progress import ProgressListener
from mlctl.domain.run import Run
from mlctl.domain.script import ScriptRequest
from mlctl.recipes.keras_import import require_tensorflow
from mlctl.services.models.names import check_name
from mlctl.services.workflows.train import check_cluster
from mlctl.settings import Settings


def train_script(
    settings: Settings, request: ScriptRequest, listener: ProgressListener, cluster: Cluster | None = None
) -> Run:
    """Run a script here or on a cluster, log the model that it trains, and register it if the request says so.

    Return the run. Raises ChildFailedError if the script fails, and as `train` does for a wrong request.
    """
    if request.register is not None:
        check_name(request.register)
    program = find_program(request.script, request.module)
    if cluster is not None:
        require_tensorflow("mlctl train SCRIPT --cluster trains")
        check_cluster(settings, request, cluster)
        connection = cluster_access.connect(cluster, listener)
        from mlctl.services.workflows.script_on_cluster import train_on_cluster  # Ray is an extra

        return train_on_cluster(settings, request, program, connection=connection, listener=listener)
    # imported only now: a wrong request is reported without waiting for MLflow
    from mlctl.services.scripts.script_run import run_script

    record, run = run_script(settings, request, program, listener)
    from mlctl.services.workflows.finish_result import finish_result

    return finish_result(settings, record.store, run, register=request.register, listener=listener)
