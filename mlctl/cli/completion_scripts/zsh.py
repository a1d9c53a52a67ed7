"""The zsh script: one function per command, which calls zsh's own _arguments."""

from __future__ import annotations

from mlctl.cli.completion_scripts.command_tree import ArgumentNode, CommandNode, OptionNode, ValueNode

HEAD = r"""#compdef mlctl
# zsh completion for mlctl, written by: mlctl completion show zsh
# Words, options and recipes are below; mlctl itself is only called for what the tracking store has.

_mlctl_ask() {  # offer the values of kind $1 in the tracking store, and file names if $2 is "files"
  [[ $PREFIX == -* && $1 != FIELD ]] && return 1
  local value help
  local -a values shown begun
  while IFS=$'\t' read -r value help; do
    [[ $value == *= ]] && begun+=("$value") && continue
    values+=("$value") shown+=("$value${help:+  -- $help}")
  done < <(command mlctl __complete "$1" "${(Q)PREFIX}" "${(Q)words[@]}" 2>/dev/null)
  local found=1
  (( $#begun )) && compadd -S '' -a begun && found=0  # NAME=, after which the value follows
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


def render(root: CommandNode) -> str:
    """Return the script."""
    functions = [_group(command) if command.commands else _command(command) for command in root.walk()]
    return HEAD + "\n" + "\n\n".join(functions) + '\n\n_mlctl "$@"\n'


def _function(node: CommandNode) -> str:
    return "_mlctl" + "".join(f"_{word}" for word in node.path.split())


def _command(node: CommandNode) -> str:
    arguments = [_argument(argument, position) for position, argument in enumerate(node.arguments, 1)]
    specs = [*map(_option, node.options), *arguments]
    return _function(node) + "() {\n  _arguments -s -S" + _join(specs) + "\n}"


def _group(node: CommandNode) -> str:
    specs = [*map(_option, node.options), "'1: :->command'", "'*:: :->rest'"]
    names = "".join(f"\n      {_quote(command.name + ':' + command.help)}" for command in node.commands)
    calls = "".join(f"\n        {command.name}) {_function(command)} ;;" for command in node.commands)
    return (
        f"{_function(node)}() {{\n"
        "  local context state state_descr line\n  typeset -A opt_args\n  local -a commands\n"
        f"  _arguments -C -s -S{_join(specs)} && return 0\n"
        f"  case $state in\n    command)\n      commands=({names}\n      )\n"
        f"      _describe -t commands command commands ;;\n"
        f"    rest)\n      case $words[1] in{calls}\n      esac ;;\n  esac\n}}"
    )


def _join(specs: list[str]) -> str:
    return "".join(f" \\\n    {spec}" for spec in specs)


def _option(option: OptionNode) -> str:
    action = ":" + _action(option.value) if option.value else ""
    prefix = "*" if option.repeated else "(" + " ".join(option.names) + ")"
    return " \\\n    ".join(
        _quote(
            f"{prefix}{name}{'=' if action and name.startswith('--') else ''}[{_escape(option.help)}]{action}"
        )
        for name in option.names
    )


def _argument(argument: ArgumentNode, position: int) -> str:
    place = "*:" if argument.repeated else f"{position}:" if argument.required else f"{position}::"
    return _quote(place + _action(argument.value))


def _action(value: ValueNode) -> str:
    """Return "message:action". zsh calls an action that begins with a space without arguments of its own."""
    message = value.name.replace(":", " ")
    if value.store_kind:
        return f"{message}: _mlctl_ask {value.store_kind}{' files' if value.files else ''}"
    if value.files and value.words:
        return f"{message}: _mlctl_recipes_or_files {' '.join(value.words)}"
    if value.files:
        return f"{message}:_files"
    return f"{message}:({' '.join(value.words)})" if value.words else f"{message}: "


def _escape(text: str) -> str:
    for mark in "\\[]:":
        text = text.replace(mark, "\\" + mark)
    return text


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
