"""Everything that mlctl writes: answers to stdout; progress, hints, warnings and errors to stderr.

A command hands a frozen value to `show`. `views` turns the value into tables or a JSON document, and `tables`
writes the tables in the requested format.
"""

from mlctl.output.messages import confirm, hint, print_error, warn
from mlctl.output.run_watch import follow
from mlctl.output.show_answer import show

__all__ = ["confirm", "follow", "hint", "print_error", "show", "warn"]
