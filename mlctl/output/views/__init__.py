"""The tables of each answer for people, and its JSON document for programs: one module per subject.

Importing a module registers its views with `tables` and `document`.
"""

from mlctl.output.views import (
    automl,
    compare,
    data_check,
    drift,
    endpoints,
    exports,
    models,
    predictions,
    project,
    promotions,
    recipes,
    reports,
    run_detail,
    run_list,
    runs,
    server,
    serving,
    training,
    tune,
    users,
    webhooks,
)
from mlctl.output.views.base import document, tables, text

__all__ = [
    "automl",
    "compare",
    "data_check",
    "document",
    "drift",
    "endpoints",
    "exports",
    "models",
    "predictions",
    "project",
    "promotions",
    "recipes",
    "reports",
    "run_detail",
    "run_list",
    "runs",
    "server",
    "serving",
    "tables",
    "text",
    "training",
    "tune",
    "users",
    "webhooks",
]
