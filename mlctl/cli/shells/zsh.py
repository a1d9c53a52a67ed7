"""The zsh script: a function a command, each one call of zsh's own _arguments."""

from __future__ import annotations

from mlctl.cli.shells.tree import Argument, Node, Option, Value

HEAD = r"""#compdef mlctl
# zsh completion for mlctl, written by: mlctl completion show zsh
# Words, options and recipes stand below; only what the store knows is asked of mlctl itself.

_mlctl_ask() {  # offer what the store says for kind $1; files too where $2 says so
  [[ $PREFIX == -* ]] && return 1
  local value help
  local -a values shown
  while IFS=$'\t' read -r value help; do
    values+=("$value") shown+=("$value${help:+  -- $help}")
  done < <(command mlctl __complete "$1" "${(Q)PREFIX}" "${(Q)words[@]}" 2>/dev/null)
  local found=1
  (( $#values )) && compadd -l -V "mlctl $1" -d shown -a values && found=0
  [[ $2 == files ]] && _files && found=0
  return found
}

_mlctl_recipes_or_files() {
  local found=1
  compadd -- "$@" && found=0
  _files && found=0
  return found
}
"""


def render(root: Node) -> str:
    """Return the script."""
    functions = [_group(one) if one.commands else _command(one) for one in root.walk()]
    return HEAD + "\n" + "\n\n".join(functions) + '\n\n_mlctl "$@"\n'


def _function(node: Node) -> str:
    return "_mlctl" + "".join(f"_{word}" for word in node.path.split())


def _command(node: Node) -> str:
    specs = [*map(_option, node.options), *(_argument(one, i) for i, one in enumerate(node.arguments, 1))]
    return _function(node) + "() {\n  _arguments -s -S" + _lines(specs) + "\n}"


def _group(node: Node) -> str:
    options = [_option(one) for one in node.options]
    options += ["'1: :->command'", "'*:: :->rest'"]
    listed = "".join(f"\n      {_quoted(one.name + ':' + one.help)}" for one in node.commands)
    called = "".join(f"\n        {one.name}) {_function(one)} ;;" for one in node.commands)
    return (
        f"{_function(node)}() {{\n"
        "  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n"
        f"  _arguments -C -s -S{_lines(options)} && return 0\n"
        f"  case $state in\n    command)\n      commands=({listed}\n      )\n"
        f"      _describe -t commands command commands ;;\n"
        f"    rest)\n      case $words[1] in{called}\n      esac ;;\n  esac\n}}"
    )


def _lines(specs: list[str]) -> str:
    return "".join(f" \\\n    {one}" for one in specs)


def _option(option: Option) -> str:
    action = ":" + _action(option.value) if option.value else ""
    help_ = _escaped(option.help)
    if option.repeats:
        return " \\\n    ".join(
            _quoted(f"*{name}{'=' if action and name[:2] == '--' else ''}[{help_}]{action}")
            for name in option.names
        )
    alone = "(" + " ".join(option.names) + ")"
    return " \\\n    ".join(
        _quoted(f"{alone}{name}{'=' if action and name[:2] == '--' else ''}[{help_}]{action}")
        for name in option.names
    )


def _argument(argument: Argument, position: int) -> str:
    where = "*:" if argument.repeats else f"{position}:" if argument.required else f"{position}::"
    return _quoted(where + _action(argument.value))


def _action(value: Value) -> str:
    """Return "message:action"; an action that begins with a space is called with its own words alone."""
    name = value.name.replace(":", " ")
    if value.ask:
        return f"{name}: _mlctl_ask {value.ask}{' files' if value.files else ''}"
    if value.files and value.words:
        return f"{name}: _mlctl_recipes_or_files {' '.join(value.words)}"
    if value.files:
        return f"{name}:_files"
    return f"{name}:({' '.join(value.words)})" if value.words else f"{name}: "


def _escaped(text: str) -> str:
    for mark in "\\[]:":
        text = text.replace(mark, "\\" + mark)
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
