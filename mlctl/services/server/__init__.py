"""The tracking server's verbs: up, down, status, logs, and looking after what it keeps."""

from mlctl.services.server.adopt_artifacts import plan as plan_adoption
from mlctl.services.server.backup import backup
from mlctl.services.server.down import down
from mlctl.services.server.export import export, replaced, write
from mlctl.services.server.gc import sweep
from mlctl.services.server.login import login
from mlctl.services.server.logs import follow, tail
from mlctl.services.server.migrate import migrate
from mlctl.services.server.preflight import in_the_clear
from mlctl.services.server.restore import inspect, restore
from mlctl.services.server.server_location import locate_in, locate_named, stated
from mlctl.services.server.status import status, status_of_all
from mlctl.services.server.up import ServerOptions, print_env, up

__all__ = [
    "ServerOptions",
    "backup",
    "down",
    "export",
    "follow",
    "in_the_clear",
    "inspect",
    "locate_in",
    "locate_named",
    "login",
    "migrate",
    "plan_adoption",
    "print_env",
    "replaced",
    "restore",
    "stated",
    "status",
    "status_of_all",
    "sweep",
    "tail",
    "up",
    "write",
]
