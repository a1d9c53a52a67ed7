"""mlctl server-up, server-status, server-logs, server-down."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlctl.cli.common_options import Session
from mlctl.cli.server_options import Name, RunFilter, placed

if TYPE_CHECKING:
    from mlctl.domain.server import Adoption, TrackingServer

REACHED = "Who may reach it"


@placed
def server_up(
    session: Session,
    where: RunFilter,
    name: Name = "main",
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on.", rich_help_panel=REACHED)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, help="The port; 0 takes a free one.", rich_help_panel=REACHED
        ),
    ] = 5000,
    create_bucket: Annotated[
        bool, typer.Option("--create-bucket", help="Create the bucket where it is missing.")
    ] = False,
    upgrade_db: Annotated[bool, typer.Option("--upgrade-db", help="Migrate an older schema first.")] = False,
    direct_artifacts: Annotated[
        bool,
        typer.Option(
            "--direct-artifacts", help="Clients write to the bucket themselves, with keys of their own."
        ),
    ] = False,
    auth: Annotated[
        bool,
        typer.Option(
            "--auth", help="Ask for a user and a password (MLflow's basic-auth).", rich_help_panel=REACHED
        ),
    ] = False,
    admin_password_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The first administrator's password; - is stdin.", rich_help_panel=REACHED
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Let everybody in, beyond this machine too.", rich_help_panel=REACHED
        ),
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Serve https.", rich_help_panel=REACHED)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Its key.", rich_help_panel=REACHED)
    ] = None,
    allowed_hosts: Annotated[
        str,
        typer.Option(
            metavar="HOST,…", help="The names under which it may be asked for.", rich_help_panel=REACHED
        ),
    ] = "",
    cors_origins: Annotated[
        str,
        typer.Option(metavar="ORIGIN,…", help="The sites whose pages may use it.", rich_help_panel=REACHED),
    ] = "",
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes answer.")] = 4,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Expose Prometheus counters at /metrics.")
    ] = False,
    supervise: Annotated[bool, typer.Option("--supervise", help="Start it again when it crashes.")] = False,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay: for a container.")] = False,
    migrate_only: Annotated[
        bool, typer.Option("--migrate-only", help="Bring the schema up and leave: for an init container.")
    ] = False,
    adopt_artifacts: Annotated[
        bool, typer.Option("--adopt-artifacts", help="First move what local clients made behind the server.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="With --adopt-artifacts: show what would be moved.")
    ] = False,
    print_env: Annotated[
        bool, typer.Option("--print-env", help="Print a line for eval, and nothing else.")
    ] = False,
) -> None:
    r"""Start a tracking server; return when it is healthy.

    \b
    mlctl server-up                                  sqlite and a folder, here
    eval "$(mlctl server-up --print-env)"            and use it
    mlctl server-up --backend postgresql://mlflow@db/mlflow --bucket models
    """
    from mlctl import output
    from mlctl.domain.server import Access
    from mlctl.services import server

    place = server.locate_in(session.settings, **where, direct=direct_artifacts)
    hosts = tuple(one.strip() for one in allowed_hosts.split(",") if one.strip())
    origins = tuple(one.strip() for one in cors_origins.split(",") if one.strip())
    access = Access(host, port, auth, insecure, tls_cert, tls_key, hosts, origins)
    if migrate_only:
        session.show(server.migrate(place), "next: mlctl server-up")
        return
    planned = server.plan_adoption(place) if adopt_artifacts or dry_run else None
    if planned and dry_run:
        session.show(planned, "next: the same without --dry-run, and with --yes")
        return
    if planned:
        server_adopts(session, planned)
    if server.in_the_clear(access):
        output.warn(f"passwords for {host} travel unencrypted: --tls-cert and --tls-key, or TLS before it")
    wish = server.ServerOptions(
        name, workers, foreground, supervise, metrics, create_bucket, upgrade_db, admin_password_file, planned,
        server.stated(where),
    )  # fmt: skip
    answer = server.up(place, access, wish, session.settings.state_dir)
    server_told(session, answer, print_env)


def server_adopts(session: Session, planned: Adoption) -> None:
    """Ask whether what local clients made may be moved behind the server."""
    if planned.movable:
        files, size = (sum(getattr(one, of) for one in planned.movable) for of in ("files", "size_bytes"))
        names = ", ".join(one.name for one in planned.movable)
        session.confirm(f"Move {files} files ({size / 1e6:.1f} MB) of {names} to {planned.destination}?")


def server_told(session: Session, answer: TrackingServer, print_env: bool) -> None:
    """Show a server that is up, and what about it deserves a second look."""
    from mlctl import output
    from mlctl.services import server

    if answer.already:
        output.hint(f"{answer.name} is up already, at {answer.url}")
    if answer.strays:
        names = ", ".join(one.name for one in answer.strays[:3]) + ("…" if len(answer.strays) > 3 else "")
        output.warn(
            f"{len(answer.strays)} experiments keep artifacts in a folder of this machine, out of others' reach "
            f"({names}): --adopt-artifacts moves them"
        )
    if answer.remark:
        output.warn(answer.remark)
    if print_env:
        if answer.admin_password:  # stdout is eval's
            output.hint(f"user admin, password {answer.admin_password} (shown this once)")
        with session.answer():
            print(server.print_env(answer))
        return
    enter = f"mlctl login {answer.url}; " if answer.auth else ""
    session.show(answer, f"next: {enter}export MLFLOW_TRACKING_URI={answer.url}; mlctl train digits")


def server_status(
    session: Session,
    name: Name = "main",
    every: Annotated[bool, typer.Option("--all", help="List every server of this machine.")] = False,
) -> None:
    r"""Show how a server is: its process, its database, and what it holds.

    \b
    mlctl server-status
    mlctl server-status --all -o json
    """
    from mlctl.services import server

    state_dir = session.settings.state_dir
    session.show(server.status_of_all(state_dir) if every else server.status(name, state_dir))


def server_logs(
    session: Session,
    name: Name = "main",
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the server is gone.")] = False,
) -> None:
    r"""Print a server's log.

    \b
    mlctl server-logs -n 20
    mlctl server-logs -f
    """
    from mlctl.services import server

    with session.answer():
        for line in server.tail(name, lines, session.settings.state_dir):
            print(line)
        if follow:
            for line in server.follow(name, session.settings.state_dir):
                print(line, flush=True)


def server_down(
    session: Session,
    name: Name = "main",
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long requests in flight may take.")
    ] = 30.0,
) -> None:
    r"""Stop a server: gracefully, then firmly; only the process that was started.

    \b
    mlctl server-down
    """
    from mlctl.services import server

    session.show(server.down(name, grace, session.settings.state_dir))


def login(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's address.")],
    username: Annotated[
        str, typer.Option("--username", "-u", metavar="USER", help="Who you are there.")
    ] = "admin",
    password_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="A file that holds the password; - is stdin.")
    ] = None,
    ca_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Whom to trust, for a certificate of your own.")
    ] = None,
) -> None:
    r"""Keep your user and password for a server, in a file that only you can read; every command uses them.

    \b
    mlctl login https://mlflow.example.com -u ada
    """
    from mlctl.cli.secret_prompt import asked_for
    from mlctl.services import server

    password = asked_for(f"password of {username}", password_file)
    session.show(
        server.login(url, username, password, ca_cert), f"next: mlctl runs list --tracking-uri {url}"
    )
