"""See what a script does with Keras: `compile`, `fit` and `evaluate` of every model, and `set_random_seed`.

The methods of `keras.Model` are replaced as soon as the script has imported Keras; nothing is imported here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from mlctl.adapters.system.assigned import assigned
from mlctl.adapters.system.import_hooks import after_import

CACHED_EVALUATION = (
    "_use_cached_eval_dataset"  # the argument by which `fit` evaluates its own validation data
)

Arguments = dict[str, Any]  # of a method, by name
Original = Callable[[Arguments], Any]  # calls Keras's own method


class KerasObserver(Protocol):
    """Is called in place of Keras's methods, and calls them."""

    @property
    def initial_seed(self) -> int | None:
        """The seed to set when Keras has been imported; None: the script decides."""

    def compile(self, model: Any, arguments: Arguments, original: Original) -> None:
        """`model.compile` is called."""

    def fit(self, model: Any, arguments: Arguments, original: Original) -> Any:
        """`model.fit` is called; return its History."""

    def evaluate(self, model: Any, arguments: Arguments, original: Original) -> Any:
        """`model.evaluate` is called, but not by `fit`; return what it returns."""

    def set_random_seed(self, seed: int) -> int:
        """`keras.utils.set_random_seed` is called; return the seed to set."""


@contextlib.contextmanager
def observed(observer: KerasObserver) -> Iterator[None]:
    """Let Keras's methods reach the observer while the block runs, as soon as Keras is imported.

    Calls in other threads, in forked processes, and inside the observer's own calls go to Keras.
    """
    with contextlib.ExitStack() as stack, after_import("keras", lambda: _replace(observer, stack)):
        yield


def _replace(observer: KerasObserver, stack: contextlib.ExitStack) -> None:
    from mlctl.adapters.models import constructors  # it imports Keras

    constructors.record_arguments()  # of the script's own layers, before it makes any
    keras = sys.modules["keras"]
    process, thread = os.getpid(), threading.get_ident()
    depth = 0

    def is_observed() -> bool:
        return depth == 0 and os.getpid() == process and threading.get_ident() == thread

    def observe(name: str, call: Callable[[Any, Arguments, Original], Any]) -> None:
        # in the class that defines it: Keras loads models whose `compile` is another one than its own uncompiled
        owner = next(cls for cls in keras.Model.__mro__ if name in vars(cls))
        method = getattr(owner, name)
        signature = inspect.signature(method)

        @functools.wraps(method)
        def replaced(model: Any, *positional: Any, **named: Any) -> Any:
            nonlocal depth
            if not is_observed() or CACHED_EVALUATION in named:
                return method(model, *positional, **named)
            try:
                arguments = _bound(signature, model, positional, named)
            except TypeError:  # Keras says what is wrong
                return method(model, *positional, **named)

            def original(arguments: Arguments) -> Any:
                return method(model, **arguments)

            depth += 1
            try:
                return call(model, arguments, original)
            finally:
                depth -= 1

        stack.enter_context(assigned(owner, name, replaced))

    observe("compile", observer.compile)
    observe("fit", observer.fit)
    observe("evaluate", observer.evaluate)
    seed = keras.utils.set_random_seed

    @functools.wraps(seed)
    def set_random_seed(value: int) -> None:
        seed(observer.set_random_seed(value))

    # the second module is where tensorflow.keras takes it from, when it is used for the first time
    for owner in (keras.utils, sys.modules[seed.__module__]):
        stack.enter_context(assigned(owner, "set_random_seed", set_random_seed))
    if observer.initial_seed is not None:  # the script may set none
        set_random_seed(observer.initial_seed)


def _bound(
    signature: inspect.Signature, model: Any, positional: tuple[Any, ...], named: Mapping[str, Any]
) -> Arguments:
    """Return the given arguments by name, without `self`; further ones of `**kwargs` among them."""
    arguments = dict(signature.bind(model, *positional, **named).arguments)
    arguments.pop(next(iter(signature.parameters)))
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(arguments.pop(name, {}))
    return arguments
