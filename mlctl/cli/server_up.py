"""mlctl server-up."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mlctl import output
from mlctl.cli.common_options import Session
from mlctl.cli.options import (
    EXECUTION,
    NETWORK,
    AllowedHostOption,
    HostOption,
    InsecureOption,
    MetricsOption,
    PortOption,
    StaticPrefixOption,
    TlsCertOption,
    TlsKeyOption,
)
from mlctl.cli.server_options import (
    STORAGE,
    CreateBucketOption,
    LocationOptions,
    NameOption,
    with_location_options,
)
from mlctl.domain.server import Adoption, ServerAccess, TrackingServer
from mlctl.units import format_size

UpgradeDbOption = Annotated[
    bool,
    typer.Option(
        "--upgrade-db",
        help="Migrate a database of an older MLflow version before the start.",
        rich_help_panel=STORAGE,
    ),
]
MigrateOnlyOption = Annotated[
    bool,
    typer.Option(
        "--migrate-only",
        help="Create or migrate the database's tables and exit, such as in an init container.",
        rich_help_panel=STORAGE,
    ),
]
DirectArtifactsOption = Annotated[
    bool,
    typer.Option(
        "--direct-artifacts",
        help="Clients write artifacts to the bucket themselves, with their own credentials.",
        rich_help_panel=STORAGE,
    ),
]
ArtifactsOnlyOption = Annotated[
    bool,
    typer.Option(
        "--artifacts-only",
        help="Store and send artifacts for other tracking servers, and refuse all other requests.",
        rich_help_panel=STORAGE,
    ),
]
WorkspacesOption = Annotated[
    bool,
    typer.Option(
        "--workspaces",
        help="Keep experiments and models in MLflow's workspaces, which clients choose with MLFLOW_WORKSPACE.",
        rich_help_panel=STORAGE,
    ),
]
AdoptArtifactsOption = Annotated[
    bool,
    typer.Option(
        "--adopt-artifacts",
        help="Before the start, move artifacts that clients without a server wrote to local folders into the "
        "server's storage.",
        rich_help_panel=STORAGE,
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        "-n",
        help="Show what --adopt-artifacts would move, and change nothing.",
        rich_help_panel=STORAGE,
    ),
]
AuthOption = Annotated[
    Literal["basic", "proxy"] | None,
    typer.Option(
        "--auth",
        help="Require a user name and a password (--auth alone means basic), or let a trusted proxy name the user.",
        rich_help_panel=NETWORK,
    ),
]
TrustedProxyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--trusted-proxy",
        metavar="ADDRESS",
        help="With --auth proxy: address or network of the proxy. Repeat it for more.",
        rich_help_panel=NETWORK,
    ),
]
UserHeaderOption = Annotated[
    str,
    typer.Option(
        "--user-header",
        metavar="NAME",
        help="With --auth proxy: header that has the user's name.",
        rich_help_panel=NETWORK,
    ),
]
AdminPasswordFileOption = Annotated[
    str | None,
    typer.Option(
        "--admin-password-file",
        metavar="FILE",
        help="File with the first administrator's password; - reads stdin (default: a random password).",
        rich_help_panel=NETWORK,
    ),
]
DefaultPermissionOption = Annotated[
    Literal["none", "read", "edit", "manage"],
    typer.Option(
        "--default-permission",
        help="What a user may do with experiments and models of others that was not granted.",
        rich_help_panel=NETWORK,
    ),
]
CorsOriginsOption = Annotated[
    str,
    typer.Option(
        "--cors-origins",
        metavar="ORIGIN,…",
        help="Origins of web pages that may use the server, separated by commas.",
        rich_help_panel=NETWORK,
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        max=64,
        help="Number of processes that answer requests.",
        rich_help_panel=EXECUTION,
    ),
]
SuperviseOption = Annotated[
    bool, typer.Option("--supervise", help="Restart the server if it crashes.", rich_help_panel=EXECUTION)
]
ForegroundOption = Annotated[
    bool,
    typer.Option(
        "--foreground", help="Stay in the foreground, such as in a container.", rich_help_panel=EXECUTION
    ),
]
PrintEnvOption = Annotated[
    bool, typer.Option("--print-env", help="Print only a line for eval that sets MLFLOW_TRACKING_URI.")
]


@with_location_options
def server_up(
    session: Session,
    location: LocationOptions,
    name: NameOption = "main",
    host: HostOption = "127.0.0.1",
    port: PortOption = 5000,
    create_bucket: CreateBucketOption = False,
    upgrade_db: UpgradeDbOption = False,
    migrate_only: MigrateOnlyOption = False,
    direct_artifacts: DirectArtifactsOption = False,
    artifacts_only: ArtifactsOnlyOption = False,
    workspaces: WorkspacesOption = False,
    adopt_artifacts: AdoptArtifactsOption = False,
    dry_run: DryRunOption = False,
    auth: AuthOption = None,
    trusted_proxy: TrustedProxyOption = None,
    user_header: UserHeaderOption = "X-Forwarded-User",
    admin_password_file: AdminPasswordFileOption = None,
    default_permission: DefaultPermissionOption = "read",
    insecure: InsecureOption = False,
    tls_cert: TlsCertOption = None,
    tls_key: TlsKeyOption = None,
    allowed_host: AllowedHostOption = None,
    cors_origins: CorsOriginsOption = "",
    static_prefix: StaticPrefixOption = "",
    workers: WorkersOption = 4,
    metrics: MetricsOption = True,
    supervise: SuperviseOption = False,
    foreground: ForegroundOption = False,
    print_env: PrintEnvOption = False,
) -> None:
    r"""Start a tracking server and return when it is healthy.

    \b
    mlctl server-up
    eval "$(mlctl server-up --print-env)"
    mlctl server-up --backend postgresql://mlflow@db/mlflow --bucket models

    Without options, the server keeps a SQLite database and the artifacts in the current folder. The second example
    also sets MLFLOW_TRACKING_URI in this shell.
    """
    from mlctl.services.server import adopt_artifacts as adoption_service
    from mlctl.services.server import migrate, preflight, server_location, up

    server_data = server_location.location_from_options(session.settings, **location, direct=direct_artifacts)
    if migrate_only:
        session.show(migrate.migrate_schema(server_data), "next: mlctl server-up")
        return
    adoption = adoption_service.plan_adoption(server_data) if adopt_artifacts or dry_run else None
    if adoption and dry_run:
        session.show(adoption, "next: the same command with --adopt-artifacts and without --dry-run")
        return
    if adoption:
        _confirm_adoption(session, adoption)
    access = ServerAccess(
        host=host,
        port=port,
        auth=auth is not None,
        by_proxy=auth == "proxy",
        trusted_proxies=tuple(trusted_proxy or ()),
        user_header=user_header,
        insecure=insecure,
        default_permission=default_permission,
        tls_cert=tls_cert,
        tls_key=tls_key,
        allowed_hosts=tuple(allowed_host or ()),
        cors_origins=tuple(origin.strip() for origin in cors_origins.split(",") if origin.strip()),
    )
    if preflight.sends_unencrypted_passwords(access):
        output.warn(
            f"clients send passwords to {host} unencrypted; use --tls-cert and --tls-key, or a proxy with TLS"
        )
    if preflight.everybody_may_read(access):
        output.warn(
            f"every user may {default_permission} the experiments and models of all others; "
            "--default-permission none leaves each user only their own and what is granted"
        )
    options = up.ServerOptions(
        name=name,
        workers=workers,
        foreground=foreground,
        supervise=supervise,
        metrics=metrics,
        create_bucket=create_bucket,
        upgrade_db=upgrade_db,
        admin_password_file=admin_password_file,
        adoption=adoption,
        typed_location_keys=server_location.typed_location_keys(location),
        notify=session.settings.notify,
        static_prefix=up.check_static_prefix(static_prefix),
        artifacts_only=artifacts_only,
        workspaces=workspaces,
    )
    server = up.start_server(server_data, access, options, session.settings.state_dir)
    _warn_about(server)
    if artifacts_only and not print_env:
        session.show(
            server, f"next: make experiments elsewhere with the artifact location {_artifact_uri(server)}"
        )
        return
    _show_server(session, server, print_env)


def _artifact_uri(server: TrackingServer) -> str:
    return f"{server.url}/api/2.0/mlflow-artifacts/artifacts/NAME"


def _confirm_adoption(session: Session, adoption: Adoption) -> None:
    if adoption.movable:
        files = sum(experiment.files for experiment in adoption.movable)
        size = format_size(sum(experiment.size_bytes for experiment in adoption.movable))
        names = ", ".join(experiment.name for experiment in adoption.movable)
        session.confirm(f"Move {files} files ({size}) of {names} to {adoption.destination}?")


def _warn_about(server: TrackingServer) -> None:
    if server.already_running:
        output.hint(f"{server.name} is already running at {server.url}")
    if server.local_experiments:
        names = ", ".join(experiment.name for experiment in server.local_experiments[:3])
        more = ", …" if len(server.local_experiments) > 3 else ""
        output.warn(
            f"{len(server.local_experiments)} experiments keep artifacts in a folder of this machine, which other machines "
            f"cannot read ({names}{more}); --adopt-artifacts moves them to the server"
        )
    if server.warning:
        output.warn(server.warning)


def _show_server(session: Session, server: TrackingServer, print_env: bool) -> None:
    environment = f"export MLFLOW_TRACKING_URI={server.url}"
    if print_env:  # stdout is for eval
        if server.admin_password:
            output.hint(f"user admin, password {server.admin_password} (shown only now)")
        with session.redirect_to_stdout():
            print(environment)
        return
    login = f"mlctl login {server.url}; " if server.auth else ""
    session.show(server, f"next: {login}{environment}; mlctl train digits")
