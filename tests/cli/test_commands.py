"""The table of commands, and the help and the options of all commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from docs import generate
from mlctl.cli.app import app
from mlctl.cli.commands import COMMANDS, load_command
from mlctl.cli.completion_scripts.command_tree import OptionNode, build_tree
from mlctl.cli.help_layout import LAST_PANELS, RARE_OPTIONS

pytestmark = pytest.mark.unit

GENERATED = generate.generated_files()
# options that mean something different, or have another default, in some commands
DIFFERENT_MEANINGS = {
    "--api-key-file",  # hashes of all keys, and one's own key
    "--artifacts",  # where a server keeps them, and whether an import copies them
    "--batch-size",  # of a training and of a prediction
    "--bucket",  # of a server and of exported files
    "--cluster",  # the pieces of predict are files
    "--cpu",  # of a Ray cluster and of Kubernetes
    "--detach",  # of an endpoint and of a rollout
    "--dry-run",  # server-up shows an adoption
    "--epochs",  # of a new and of a resumed training
    "--experiment",  # to record in and to search in
    "--force",
    "--host",  # to listen on and to publish
    "--image",  # of a server and of a model
    "--memory",  # of a Ray cluster and of Kubernetes
    "--metric",  # to optimize and to draw
    "--model",  # of a script and of a permission
    "--name",  # of a server and of an endpoint
    "--out",  # of predictions and of a report
    "--port",  # of a server and of an endpoint
    "--since",  # of logged requests and of audit entries
    "--stage",  # of a history, and of a copy that is promoted
    "--strict",  # of requests and of a check of data
    "--timeout",  # of a search and of a request
    "--to",
    "--trials",  # of a new and of a resumed search
    "--user",  # of an entry and of a token
    "--workers",  # of a server and of an endpoint
}


PASTED_WIDTH = 78  # the help has a margin of one column at each side


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
    for name, child in (children or {}).items():
        yield from leaves(child, f"{path} {name}")


ALL = [leaf for name in COMMANDS for leaf in leaves(load_command(name), name)]


@pytest.mark.parametrize("name", COMMANDS)
def test_table_holds_the_first_paragraph_of_the_docstring(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert COMMANDS[name].help == command.help.partition("\n\n")[0]


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_help_starts_with_examples_of_the_command(path: str, command: Any) -> None:
    _, _, rest = command.help.partition("\n\n")
    examples = rest.partition("\n\n")[0].splitlines()
    assert examples, f"mlctl {path}: no example in its docstring"
    assert "mlctl " in examples[0]
    assert any(re.match(rf"(.*\W)?mlctl {path}\b", example) for example in examples), (
        f"no example begins with mlctl {path}"
    )
    assert "\b" not in command.help
    assert "\\" not in command.help
    assert max(map(len, examples)) <= PASTED_WIDTH, f"an example of mlctl {path} wraps at 80 columns"


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_every_parameter_has_help(path: str, command: Any) -> None:
    context = command.make_context(path, [], resilient_parsing=True)
    for parameter in command.get_params(context):
        assert parameter.help, f"mlctl {path}: {parameter.name} has no help"
        if getattr(parameter, "is_flag", False):
            shown = (
                parameter.display_type_rich(ctx=context) if parameter.name != "help" else parameter.metavar
            )
            assert not shown, f"mlctl {path}: {parameter.name} shows <bool>"


@pytest.mark.parametrize(("path", "command"), ALL, ids=[path for path, _ in ALL])
def test_help_shows_plain_types_and_rare_options_at_the_end(path: str, command: Any) -> None:
    context = command.make_context(path, [], resilient_parsing=True)
    panels = []
    for parameter in command.get_params(context):
        shown = parameter.display_type_rich(ctx=context) or ""
        assert not {"<", "[x"} & {shown[:1], shown[:2]}
        if parameter.param_type_name == "argument":
            assert not shown
        else:
            panels.append(parameter.rich_help_panel)
    places = [LAST_PANELS.index(panel) for panel in panels if panel in LAST_PANELS]
    assert places == sorted(places)
    assert panels[-len(places) :] == [panel for panel in panels if panel in LAST_PANELS]
    assert "{" not in command.get_usage(context)


def test_rare_options_exist() -> None:
    names = {name for node in build_tree().walk() for option in node.options for name in option.names}
    assert names >= RARE_OPTIONS


def test_an_option_is_the_same_in_every_command() -> None:
    by_name: dict[str, set[OptionNode]] = {}
    short_names: dict[str, set[str]] = {}
    for node in build_tree().walk():
        for option in node.options:
            by_name.setdefault(option.names[0], set()).add(option)
            for name in option.names:
                if not name.startswith("--"):
                    short_names.setdefault(name, set()).add(option.names[0])
    different = {name for name, options in by_name.items() if len(options) > 1}
    assert different == DIFFERENT_MEANINGS
    assert short_names["-n"] == {"--dry-run"}
    assert {name for name, options in short_names.items() if len(options) > 1} == {
        "-m"
    }  # a module, as of python


def test_root_lists_the_table_in_its_order() -> None:
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    assert root.list_commands(context) == list(COMMANDS)
    panels = list(dict.fromkeys(entry.panel for entry in COMMANDS.values()))
    assert [entry.panel for entry in COMMANDS.values()] == sorted(
        (entry.panel for entry in COMMANDS.values()), key=panels.index
    ), "the commands of a panel are not next to each other"


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == GENERATED[path], "run python docs/generate.py"


def test_no_help_has_a_word_in_brackets() -> None:
    """Rich takes it for markup, and leaves it out."""
    reference = next(text for path, text in GENERATED.items() if path.name == "reference.md")
    prose = re.sub(r"```.*?```|`[^`]*`", "", reference, flags=re.DOTALL)
    assert re.findall(r"\[[a-z_]+\](?!\()", prose) == []
