"""The fish script: a line an option, each with the command that it belongs to as its condition."""

from __future__ import annotations

from collections.abc import Iterator

from mlctl.cli.shells.tree import Node, Value

HEAD = """# fish completion for mlctl, written by: mlctl completion show fish
# Words, options and recipes stand below; only what the store knows is asked of mlctl itself.

function __mlctl_takes # does option $argv[2] of the command at path $argv[1] take the next word?
    switch "$argv[1] $argv[2]"
        case @TAKES@
            return 0
    end
    return 1
end

# is the cursor at path $argv[1], and at its argument number $argv[2] (with "more": or a later one)?
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

function __mlctl_ask # what the store says for kind $argv[1]
    string match -q -- '-*' (commandline -ct); and return
    set -l begun (string unescape -- (commandline -ct); or echo)
    command mlctl __complete $argv[1] "$begun" (commandline -opc)[2..-1] 2>/dev/null
end

set -g __mlctl_paths @PATHS@

complete -c mlctl -e
complete -c mlctl -f
"""


def render(root: Node) -> str:
    """Return the script."""
    paths = " ".join(_quoted(one.path) for one in root.walk() if one.path)
    takes = " ".join(
        _quoted(f"{one.path} {name}")
        for one in root.walk()
        for option in one.options
        if option.value
        for name in option.names
    )
    body = "\n".join(line for one in root.walk() for line in _lines(one))
    return HEAD.replace("@TAKES@", takes).replace("@PATHS@", paths) + body + "\n"


def _lines(node: Node) -> Iterator[str]:
    at = f"complete -c mlctl -n {_quoted('__mlctl_at ' + _quoted(node.path))}"
    for command in node.commands:
        yield f"{at} -a {command.name} -d {_quoted(command.help)}"
    for option in node.options:
        names = " ".join(f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in option.names)
        value = f" {_value(option.value)}" if option.value else ""
        yield f"{at} {names}{value} -d {_quoted(option.help)}"
    for number, argument in enumerate(node.arguments, 1):
        where = f"__mlctl_at {_quoted(node.path)} {number}{' more' if argument.repeats else ''}"
        value = _value(argument.value, argument=True)
        if value:
            yield f"complete -c mlctl -n {_quoted(where)} {value}"


def _value(value: Value, argument: bool = False) -> str:
    offers = [*value.words, *([f"(__mlctl_ask {value.ask})"] if value.ask else [])]
    keep = "-k " if value.ask else ""
    said = f"{keep}-a {_quoted(' '.join(offers))}" if offers else ""
    if argument:
        return f"{'-F ' if value.files else ''}{said}".strip()
    return f"{'-r -F' if value.files else '-x'} {said}".strip()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
