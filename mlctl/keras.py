"""What a script or a notebook calls itself: `RunRecorder` and `log`. Importing this module imports nothing heavy.

    import mlctl.keras

    model.fit(x, y, callbacks=[mlctl.keras.RunRecorder()])

Under `mlctl train` they join the run of the script; else they make a run of their own, with the settings of mlctl.toml
and the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlctl.run_recorder import RunRecorder

__all__ = ["RunRecorder", "log"]


def log(model: Any, inputs: Any = None, targets: Any = None) -> None:
    """Let the run log this model when the script ends, in place of the one that was trained last.

    Args:
        model: A Keras model, trained by `fit` or in any other way.
        inputs: A few rows that it takes, as arrays. Without them, those of its last `fit` are taken, or made-up ones.
        targets: The targets of these rows, which tell what the model's answers mean.

    Example:
        >>> mlctl.keras.log(teacher)  # doctest: +SKIP

    """
    from mlctl.services.scripts.own_run import open_session

    open_session().observer.choose_model(model, inputs, targets)


def __getattr__(name: str) -> Any:
    if name == "RunRecorder":  # a Keras callback: Keras is imported when it is used
        from mlctl.run_recorder import RunRecorder

        return RunRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
