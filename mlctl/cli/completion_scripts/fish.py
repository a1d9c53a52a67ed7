"""The fish script: one line per option, whose condition is the command that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from mlctl.cli.completion_scripts.command_tree import CommandNode, ValueNode

HEAD = """# fish completion for mlctl, written by: mlctl completion show fish
# Words, options and recipes are below; mlctl itself is only called for what the tracking store has.

function __mlctl_takes # does option $argv[2] of the command at path $argv[1] take the next word as its value?
    switch "$argv[1] $argv[2]"
        case @TAKES@
            return 0
    end
    return 1
end

# is the cursor in the command at path $argv[1], at argument number $argv[2] (with "more": or a later one)?
function __mlctl_at
    set -l path
    set -l position 1
    set -l skip
    for word in (commandline -opc)[2..-1]
        if test -n "$skip"
            set skip
        else if string match -q -- '-*' $word
            __mlctl_takes "$path" $word; and set skip 1
        else if contains -- "$(string join ' ' -- $path $word)" $__mlctl_paths
            set path "$(string join ' ' -- $path $word)"
        else
            set position (math $position + 1)
        end
    end
    test "$path" = "$argv[1]"; or return 1
    test (count $argv) -eq 1; and return
    test $position = "$argv[2]"; or test "$argv[3]" = more -a $position -ge "$argv[2]"
end

function __mlctl_ask # values of kind $argv[1] in the tracking store
    string match -q -- '-*' (commandline -ct); and return
    set -l prefix (string unescape -- (commandline -ct); or echo)
    command mlctl __complete $argv[1] "$prefix" (commandline -opc)[2..-1] 2>/dev/null
end

set -g __mlctl_paths @PATHS@

complete -c mlctl -e
complete -c mlctl -f
"""


def render(root: CommandNode) -> str:
    """Return the script."""
    paths = " ".join(_quote(command.path) for command in root.walk() if command.path)
    takes = " ".join(
        _quote(f"{command.path} {name}")
        for command in root.walk()
        for option in command.options
        if option.value
        for name in option.names
    )
    lines = "\n".join(line for command in root.walk() for line in _command_lines(command))
    return HEAD.replace("@TAKES@", takes).replace("@PATHS@", paths) + lines + "\n"


def _command_lines(node: CommandNode) -> Iterator[str]:
    start = f"complete -c mlctl -n {_quote('__mlctl_at ' + _quote(node.path))}"
    for command in node.commands:
        yield f"{start} -a {command.name} -d {_quote(command.help)}"
    for option in node.options:
        names = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
        )
        value = f" {_option_value(option.value)}" if option.value else ""
        yield f"{start} {names}{value} -d {_quote(option.help)}"
    for number, argument in enumerate(node.arguments, 1):
        condition = f"__mlctl_at {_quote(node.path)} {number}{' more' if argument.repeated else ''}"
        value = f"{'-F ' if argument.value.files else ''}{_candidates(argument.value)}".strip()
        if value:
            yield f"complete -c mlctl -n {_quote(condition)} {value}"


def _option_value(value: ValueNode) -> str:
    return f"{'-r -F' if value.files else '-x'} {_candidates(value)}".strip()


def _candidates(value: ValueNode) -> str:
    words = [*value.words, *([f"(__mlctl_ask {value.store_kind})"] if value.store_kind else [])]
    keep_order = "-k " if value.store_kind else ""
    return f"{keep_order}-a {_quote(' '.join(words))}" if words else ""


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
