"""Every command in README, CONTRIBUTING and docs/ is run or parsed, and every link leads to a file.

The ```console (lines that begin with `$ `), ```sh and ```bash blocks of a page are one script, which runs in one
folder. Every command must succeed, unless an HTML comment before its block says otherwise:

    <!-- exits: 4 -->           the last command of the block must exit with this code
    <!-- needs: s3 -->          skip the block if this part of conftest.PARTS is absent
    <!-- with: --trials 2 -->   add these options to its mlctl commands, because they would take minutes
    <!-- not run: reason -->    only parse its commands: they and their options must exist
    <!-- run … -->              run these lines, which a reader does not see, for example to create a file

To save time, the user's config sets [recipes.digits] and others to an epoch or two. Free ports replace the ports of
the pages, a real PostgreSQL replaces the team's database, and `NAME=…` is set from the environment. Commands in
running text are only parsed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from mlctl.cli.app import app
from mlctl.cli.commands import COMMANDS, load_command
from tests.conftest import PARTS
from tests.parts import free_port, postgres, s3, server_zygote
from tests.warm_server import SERVERS_VARIABLE
from tests.warm_shell import run_in_shell

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
SHELLS = {"console", "sh", "bash"}
SHELL_OPERATORS = {";", "|", "&&", "||", "&", ">", "<", ">>", "2>"}
PORTS = ("5000", "5001", "5002", "5003", "8001")
TEAM_DATABASE = "postgresql://mlflow@db.example.com/mlflow"
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[a-z ]+): (?P<argument>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"|<!-- run\n(?P<hidden>.*?)-->",
    re.MULTILINE | re.DOTALL,
)
MLCTL_COMMAND = re.compile(r"^((?:\w+=\S+ )*mlctl (?:[^\\\n]|\\\n)*)$", re.MULTILINE)
USER_CONFIG = """\
[recipes.digits]
epochs = 2
[recipes.tabular]
epochs = 2
bags = 1
[recipes.texts]
epochs = 1
[recipes.images]
epochs = 1
filters = 8
"""
STOP_EVERYTHING = """\
mlctl endpoints list -o csv | tail -n +2 | cut -d , -f 1 | xargs -r -n 1 mlctl endpoints stop
mlctl server-down
"""


@dataclass(frozen=True)
class Block:
    """The commands of a fenced block or of a hidden comment, and the mark before the block."""

    script: str
    mark: str = ""
    argument: str = ""

    @property
    def parts(self) -> set[str]:
        """The parts that the block needs."""
        return set(self.argument.split()) if self.mark == "needs" else set()

    @property
    def mlctl_commands(self) -> Iterator[list[str]]:
        """Yield the arguments of each mlctl command."""
        for line in self.script.replace("\\\n", " ").splitlines():
            yield from split_commands(line)

    def to_bash(self) -> str:
        """Return lines that end the script of the page if a command fails."""
        if self.mark == "exits":
            code = self.argument
            script = self.script.strip()
            return f"code=0; {script} || code=$?\n[ $code = {code} ] || {{ echo exit code $code; exit 1; }}"
        if self.mark == "with":
            return MLCTL_COMMAND.sub(rf"\1 {self.argument}", self.script)
        return self.script


def split_commands(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each mlctl command in a line of a script."""
    if "$(" in line:
        line = line.replace("$(", " ; ").replace(")", " ")
    arguments: list[str] | None = None
    for word in [*shlex.split(line, comments=True), ";"]:
        if word in SHELL_OPERATORS:
            if arguments is not None:
                yield arguments
            arguments = None
        elif arguments is not None:
            arguments.append(word)
        elif word == "mlctl":
            arguments = []


def read_blocks(page: Path) -> Iterator[Block]:
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["hidden"]:
            yield Block(match["hidden"])
        elif match["language"] in SHELLS:
            lines = match["text"].splitlines()
            if match["language"] == "console":
                lines = [line[2:] for line in lines if line.startswith(("$ ", "> "))]
            yield Block("\n".join(lines), match["mark"] or "", match["argument"] or "")


def parse(arguments: list[str]) -> None:
    """Parse a command with click, without running it; raises if it or an option does not exist."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    assert arguments, "mlctl without arguments"
    name, *rest = arguments
    if name.startswith("-"):
        return
    assert name in COMMANDS, f"there is no mlctl {name}"
    command: Any = load_command(name)
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no mlctl {' '.join(arguments)}"
        command, rest = command.commands[rest[0]], rest[1:]
    if rest and not getattr(command, "commands", None):
        command.make_context(name, rest, parent=context)


def build_script(blocks: Sequence[Block], absent: set[str]) -> str:
    """Return the script of a page, or "" if no command is to be run; parse the commands that are not run."""
    scripts = []
    for block in blocks:
        if block.mark == "not run":
            for arguments in block.mlctl_commands:
                parse(arguments)
        elif not absent & block.parts:
            scripts.append(block.to_bash())
    if not scripts:
        return ""
    script = "\n".join(["set -euo pipefail", "set -x", *scripts])
    script = re.sub(r"(\w+)=…", r'\1="$\1"', script)
    script = re.sub(r"mlctl server-up(?!.*--port)", "mlctl server-up --port 5000", script)
    for port in PORTS:
        script = re.sub(rf"\b{port}\b", str(free_port()), script)
    return script


@pytest.mark.live
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    blocks = list(read_blocks(page))
    needed = {part for block in blocks for part in block.parts}
    absent = {part for part in needed if not PARTS[part].is_present()}
    assert not (absent and os.environ.get("MLCTL_TEST_ALL")), f"absent: {absent}"
    script = build_script(blocks, absent)
    if not script:
        return
    environment = {
        f"XDG_{kind.upper()}_HOME": str(tmp_path / kind) for kind in ("config", "cache", "state", "data")
    }
    config = tmp_path / "config" / "mlctl" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(USER_CONFIG)
    work = tmp_path / "work"
    work.mkdir()
    if "mlctl server-up" in script:
        environment[SERVERS_VARIABLE] = server_zygote.connect().servers
    with contextlib.ExitStack() as stack:
        if "s3" in needed - absent:
            service = stack.enter_context(s3.running())
            environment |= {**service.environment, "AWS_ENDPOINT_URL_S3": service.url}
        if "postgres" in needed - absent:
            database = stack.enter_context(postgres.running())
            environment["PGPASSWORD"] = postgres.PASSWORD
            script = script.replace(TEAM_DATABASE, database.uri(database.new_database()))
        try:
            done = run_in_shell(script, work, **environment)
        finally:
            run_in_shell(STOP_EVERYTHING, work, **environment)
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-4000:]}"


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_in_running_text_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`(mlctl [^`]*)`", text):
        for arguments in split_commands(line.replace("\\|", "|")):
            if not any(word.isupper() and len(word) > 2 for word in arguments[:1]):  # mlctl COMMAND --help
                parse_without_required(arguments)


def parse_without_required(arguments: list[str]) -> None:
    """Parse a command whose required arguments may be left out."""
    try:
        parse(arguments)
    except Exception as error:
        message = str(getattr(error, "message", error))
        if "Missing" not in message and type(error).__name__ != "MissingParameter":
            raise


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.unit
def test_readme_links_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    others = [str(page.relative_to(ROOT)) for page in PAGES if page.name != "README.md"]
    assert [name for name in others if f"]({name})" not in text] == []
