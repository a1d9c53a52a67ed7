"""The arguments of a script as the library that parses them has understood them: with their defaults.

argparse, click (and typer, which is made of it) and absl are watched; none of them is imported here.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlctl.adapters.system.import_hooks import after_import
from mlctl.domain.script import parse_arguments

Receive = Callable[[Mapping[str, str]], None]
CLICK_MODULES = ("click.core", "typer._click.core")  # typer has a copy of its own
MAX_TEXT = 500  # characters of a value


@contextlib.contextmanager
def parsed_arguments(receive: Receive) -> Iterator[None]:
    """Call `receive` with the values of every option that the block's code parses, by the options' names as written."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(argparse.ArgumentParser, "parse_known_args", _of_argparse, receive))
        for module in CLICK_MODULES:
            stack.enter_context(after_import(module, functools.partial(_watch_click, module, receive, stack)))
        stack.enter_context(after_import("absl.flags", functools.partial(_watch_absl, receive, stack)))
        yield


def _watch_click(module: str, receive: Receive, stack: contextlib.ExitStack) -> None:
    command = sys.modules[module].Command
    stack.enter_context(_replaced(command, "make_context", _of_click, receive))


def _watch_absl(receive: Receive, stack: contextlib.ExitStack) -> None:
    values = sys.modules["absl.flags"].FlagValues
    stack.enter_context(_replaced(values, "__call__", _of_absl, receive))


@contextlib.contextmanager
def _replaced(owner: Any, name: str, read: Callable[..., dict[str, str]], receive: Receive) -> Iterator[None]:
    """Call `receive` with what `read` finds after each call of a method."""
    method, process = getattr(owner, name), os.getpid()

    @functools.wraps(method)
    def replaced(self: Any, *positional: Any, **named: Any) -> Any:
        result = method(self, *positional, **named)
        if os.getpid() == process:
            with contextlib.suppress(Exception):  # what is recorded must not break the script
                if found := read(self, result, *positional, **named):
                    receive(found)
        return result

    setattr(owner, name, replaced)
    try:
        yield
    finally:
        if vars(owner).get(name) is replaced:
            setattr(owner, name, method)


def _of_argparse(
    parser: argparse.ArgumentParser, result: Any, args: Any = None, namespace: Any = None, **_: Any
) -> dict[str, str]:
    if args is not None and list(args) != sys.argv[1:]:  # such as a line of a configuration file
        return {}
    values = vars(result[0])
    found = parse_arguments(result[1])  # those that the parser does not know
    for action in _actions(parser, values):
        if action.dest in values and not isinstance(action, argparse._SubParsersAction):
            found |= _named(action.option_strings, action.dest, values[action.dest])
        elif isinstance(action, argparse._SubParsersAction) and action.dest is not argparse.SUPPRESS:
            found |= _named((), action.dest, values.get(action.dest))
    return found


def _actions(parser: argparse.ArgumentParser, values: Mapping[str, Any]) -> Iterator[argparse.Action]:
    """Yield the actions of a parser, and of the sub-command that was chosen."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            chosen = action.choices.get(str(values.get(action.dest)))
            if chosen is None and len(sys.argv) > 1:
                chosen = next((action.choices[word] for word in sys.argv[1:] if word in action.choices), None)
            if chosen is not None:
                yield from _actions(chosen, values)


def _of_click(command: Any, context: Any, *_: Any, **__: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for parameter in command.params:
        if parameter.name in context.params:
            is_option = getattr(parameter, "param_type_name", "") == "option"
            names = [*parameter.opts] if is_option else ()
            found |= _named(names, parameter.name or "", context.params[parameter.name])
    return found


def _of_absl(flags: Any, _: Any, *__: Any, **___: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for module, defined in flags.flags_by_module_dict().items():
        if module.partition(".")[0] in {"absl", "tensorflow", "tensorflow_datasets"}:
            continue
        for flag in defined:
            found |= _named((f"--{flag.name}",), flag.name, flag.value)
    return found


def _named(options: Iterable[str], name: str, value: Any) -> dict[str, str]:
    """Return a value under the longest name of its option, without dashes; nothing if it has no value."""
    if value is None or callable(value) or value == argparse.SUPPRESS:
        return {}
    longest = max((option.lstrip("-/") for option in options), key=len, default=name) or name
    if isinstance(value, (list, tuple)):
        text = ",".join(map(str, value))
    elif isinstance(value, bool):
        text = str(value).lower()
    else:
        text = str(getattr(value, "value", value) if type(value).__mro__[-2].__name__ == "Enum" else value)
    return {longest: text[:MAX_TEXT]} if longest else {}
