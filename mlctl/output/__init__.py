"""The only place that renders: answers to stdout, everything else to stderr.

A command hands `show` a frozen value. `views` says which tables a value makes and what document it is;
`render` writes either in the format asked for.
"""

from mlctl.output.live import follow
from mlctl.output.render import confirm, hint, print_error, warn
from mlctl.output.showing import show

__all__ = ["confirm", "follow", "hint", "print_error", "show", "warn"]
