"""Every command in README and docs/ is run as it stands there; the reference page is what --help says.

A page's blocks of ```console (lines that begin with `$ `), ```sh and ```bash are one script, run in order in
one folder, where each command must do what an HTML comment above its block says, or succeed:

    <!-- exits: 4 -->           the block's last command ends with that code
    <!-- needs: s3 -->          left out where that part of conftest.PARTS is absent
    <!-- with: --trials 2 -->   each of its mlctl commands is given these options, too: it would take minutes
    <!-- not run: why -->       its commands are parsed alone: they exist, with these options
    <!-- run … -->              lines that a reader does not see: a file that he has and we have not

So that it costs little, [recipes.digits] and the like are set to an epoch or two in the user's config. The ports
that the pages name are replaced by free ones, the team's database by one of a real PostgreSQL, and `NAME=…` by what
the environment has. Commands in running text are parsed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer

from mlctl.cli.app import app
from mlctl.cli.commands import COMMANDS, load_command
from tests.conftest import PARTS
from tests.parts import free_port, postgres, s3
from tests.warm_shell import WarmShell, running

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
SHELLS = {"console", "sh", "bash"}
PORTS = ("5000", "5001", "5002", "5003", "8001")
TEAM_DATABASE = "postgresql://mlflow@db.example.com/mlflow"
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[a-z ]+): (?P<said>[^>]*?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$"
    r"|<!-- run\n(?P<hidden>.*?)-->",
    re.MULTILINE | re.DOTALL,
)
QUICK = """\
[recipes.digits]
epochs = 2
[recipes.tabular]
epochs = 2
[recipes.texts]
epochs = 1
[recipes.images]
epochs = 1
filters = 8
"""


@dataclass(frozen=True)
class Block:
    """One fenced block of a shell, or hidden lines: its commands, and what its comment says."""

    script: str
    mark: str = ""
    said: str = ""

    @property
    def commands(self) -> Iterator[list[str]]:
        """Yield the words of each mlctl command in it."""
        for line in self.script.replace("\\\n", " ").splitlines():
            yield from of_mlctl(line)

    def as_bash(self) -> str:
        """Return it as lines that end the page's script where they do not what they should."""
        if self.mark == "exits":
            script = self.script.strip().removesuffix("\n")
            return (
                f"code=0; {script} || code=$?\n[ $code = {self.said} ] || {{ echo exit code $code; exit 1; }}"
            )
        if self.mark == "with":
            return re.sub(
                r"^((?:\w+=\S+ )*mlctl (?:[^\\\n]|\\\n)*)$",
                rf"\1 {self.said}",
                self.script,
                flags=re.MULTILINE,
            )
        return self.script


def of_mlctl(line: str) -> Iterator[list[str]]:
    words = shlex.split(line.replace("$(", " ; ").replace(")", " ") if "$(" in line else line, comments=True)
    found: list[str] | None = None
    for word in [*words, ";"]:
        if word in {";", "|", "&&", "||", "&", ">", "<", ">>", "2>"}:
            if found is not None:
                yield found
            found = None
        elif word == "mlctl" and found is None:
            found = []
        elif found is not None:
            found.append(word)


def blocks(page: Path) -> Iterator[Block]:
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["hidden"]:
            yield Block(match["hidden"])
        elif match["kind"] in SHELLS:
            lines = match["text"].splitlines()
            if match["kind"] == "console":
                lines = [line[2:] for line in lines if line.startswith(("$ ", "> "))]
            yield Block("\n".join(lines), match["mark"] or "", match["said"] or "")


def parse(words: list[str]) -> None:
    """Let click parse one command line as it would, and run nothing."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("mlctl", [], resilient_parsing=True)
    assert words, "mlctl alone"
    if words[0].startswith("-"):
        return
    assert words[0] in COMMANDS, f"there is no mlctl {words[0]}"
    command: Any = load_command(words[0])
    rest = words[1:]
    while getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"there is no mlctl {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    if rest and not getattr(command, "commands", None):
        command.make_context(words[0], rest, parent=context)


@pytest.fixture(scope="module")
def shell() -> Iterator[WarmShell]:
    with running() as one:
        yield one


@pytest.mark.live
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page: Path, shell: WarmShell, tmp_path: Path) -> None:
    found = list(blocks(page))
    wanted = {part for one in found if one.mark == "needs" for part in one.said.split()}
    absent = {part for part in wanted if not PARTS[part][0]()}
    assert not (absent and os.environ.get("MLCTL_TEST_ALL")), f"absent: {absent}"
    script = ["set -euo pipefail", "set -x"]
    for one in found:
        if one.mark == "not run":
            for words in one.commands:
                parse(words)
        elif one.mark != "needs" or not absent & set(one.said.split()):
            script.append(one.as_bash())
    if len(script) == 2:
        return
    whole = "\n".join(script)
    whole = re.sub(r"(\w+)=…", r'\1="$\1"', whole)
    whole = re.sub(r"mlctl server-up(?!.*--port)", "mlctl server-up --port 5000", whole)
    for port in PORTS:
        whole = re.sub(rf"\b{port}\b", str(free_port()), whole)
    (tmp_path / "config" / "mlctl").mkdir(parents=True)
    (tmp_path / "config" / "mlctl" / "config.toml").write_text(QUICK)
    own = {f"XDG_{kind.upper()}_HOME": str(tmp_path / kind) for kind in ("config", "cache", "state", "data")}
    # where these are by default, the shell's parent has asked when it was started
    own |= {
        "MLCTL_STATE_DIR": str(tmp_path / "state" / "mlctl"),
        "MLCTL_CACHE_DIR": str(tmp_path / "cache" / "mlctl"),
    }
    work = tmp_path / "work"
    work.mkdir()
    with contextlib.ExitStack() as parts:
        if "s3" in wanted - absent:
            bucket = parts.enter_context(s3.running())
            own |= {**bucket.environment, "AWS_ENDPOINT_URL_S3": bucket.url}
        if "postgres" in wanted - absent:
            database = parts.enter_context(postgres.running())
            own["PGPASSWORD"] = postgres.PASSWORD
            whole = whole.replace(TEAM_DATABASE, database.uri(database.new_database()))
        done = run(shell, whole, work, own)
    assert done.returncode == 0, f"{page.name}:\n{done.stdout[-4000:]}"


def run(shell: WarmShell, script: str, work: Path, environment: dict[str, str]) -> Any:
    try:
        return shell.run(script, work, **environment)
    finally:  # what a page started and left is ended with it
        left = "mlctl endpoints list -o csv | tail -n +2 | cut -d , -f 1 | xargs -r -n 1 mlctl endpoints stop"
        shell.run(f"{left}; mlctl server-down", work, **environment)


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_in_running_text_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`(mlctl [^`]*)`", text):
        for words in of_mlctl(line.replace("\\|", "|")):
            if not any(word.isupper() and len(word) > 2 for word in words[:1]):  # mlctl COMMAND --help
                parse_text(words)


def parse_text(words: list[str]) -> None:
    """Parse a command in running text, where a name may stand without its arguments."""
    try:
        parse(words)
    except Exception as error:
        if (
            "Missing" not in str(getattr(error, "message", error))
            and type(error).__name__ != "MissingParameter"
        ):
            raise


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.unit
def test_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    others = [str(page.relative_to(ROOT)) for page in PAGES if page.name != "README.md"]
    assert [name for name in others if f"]({name})" not in text] == []
