"""The bash script: a table of the commands, and a function that follows the words of the command line in it."""

from __future__ import annotations

from mlctl.cli.completion_scripts.command_tree import CommandNode, ValueNode

ENGINE = r"""# bash completion for mlctl, written by: mlctl completion show bash
# Words, options and recipes come from the table below; mlctl itself is only called for what the tracking store has.

_mlctl_at() {  # set commands, options, taking ( name=kind …) and arguments of the command at path $1
  commands= options= taking= arguments=()
  case $1 in
@TABLE@
  esac
}

_mlctl_offer() {  # add the values of kind $1: =word,word… words, f file names, ?KIND values in the store
  local part help word
  for part in ${1//;/ }; do
    case $part in
      =*) for word in ${part:1}; do _mlctl_add ${word//,/ }; done ;;
      f) files=1 ;;
      \?*)
        while IFS=$'\t' read -r word help; do
          _mlctl_add "$word"
        done < <(command mlctl __complete "${part:1}" "$plain" "${typed[@]:1}" 2>/dev/null)
        compopt -o nosort 2>/dev/null ;;
    esac
  done
}

_mlctl_add() {  # add the words that begin with the current word, quoted for the command line
  local word
  for word; do
    [[ $word == "$plain"* ]] || continue
    [[ $quote ]] || printf -v word %q "$word" && word=${word//\\,/,}
    COMPREPLY+=("$begin$word")
  done
}

_mlctl_typed() {  # put the words of the command line into `typed`; bash has split them at : and =
  local line=${COMP_LINE:0:COMP_POINT} word index
  typed=()
  for ((index = 0; index <= COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]}
    if ((index == COMP_CWORD)); then
      word=$line
      word=${word#"${word%%[![:space:]]*}"}
    fi
    if ((index > 0)) && [[ ${#typed[@]} -gt 0 && $line != [[:space:]]* && -n $line ]]; then
      typed[${#typed[@]} - 1]+=$word
    else
      line=${line#"${line%%[![:space:]]*}"}
      typed+=("$word")
    fi
    line=${line#"$word"}
  done
}

_mlctl() {
  local path= commands options taking position=0 index word kind files= quote= plain begin= cut
  local -a arguments typed
  COMPREPLY=()
  _mlctl_typed
  plain=${typed[${#typed[@]} - 1]}
  case $plain in
    \"* | \'*) quote=${plain:0:1} plain=${plain:1} ;;
    *) plain=${plain//\\/} ;;
  esac
  _mlctl_at ''
  for ((index = 1; index < ${#typed[@]} - 1; index++)); do
    word=${typed[index]}
    if [[ $word == -* ]]; then
      [[ $taking == *" $word="* ]] && ((++index == ${#typed[@]} - 1)) && kind=${taking#*" $word="}
    elif [[ " $commands " == *" $word "* ]]; then
      path="${path:+$path }$word"
      _mlctl_at "$path"
    else
      ((position++))
    fi
  done
  if [[ $kind ]]; then
    _mlctl_offer "${kind%% *}"
  elif [[ $plain == --*=* ]]; then
    begin=${plain%%=*}=
    [[ $taking == *" $begin"* ]] && kind=${taking#*" $begin"} plain=${plain#*=} && _mlctl_offer "${kind%% *}"
  elif [[ $plain == -* ]]; then
    _mlctl_add $options
  elif [[ $commands ]]; then
    _mlctl_add $commands
  elif ((${#arguments[@]})); then
    index=$((position < ${#arguments[@]} ? position : ${#arguments[@]} - 1))
    word=${arguments[index]}
    if [[ $index -eq $position || $word == *\* ]]; then _mlctl_offer "${word%\*}"; fi
  fi
  if [[ $files ]]; then
    local IFS=$'\n'
    if ((${#COMPREPLY[@]} == 0)); then compopt -o filenames 2>/dev/null; fi
    COMPREPLY+=($(compgen -f -- "$plain"))
  fi
  if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then compopt -o nospace 2>/dev/null; fi
  if [[ ! $quote ]]; then  # bash inserts only what follows the last : or =
    word=${typed[${#typed[@]} - 1]}
    cut=${word%"${word##*[:=]}"}
    if [[ $cut ]]; then
      for index in "${!COMPREPLY[@]}"; do COMPREPLY[index]=${COMPREPLY[index]#"$cut"}; done
    fi
  fi
}

complete -F _mlctl mlctl
"""


def render(root: CommandNode) -> str:
    """Return the script."""
    return ENGINE.replace("@TABLE@", "\n".join(_case(command) for command in root.walk()))


def _case(node: CommandNode) -> str:
    options = " ".join(name for option in node.options for name in option.names)
    taking = "".join(
        f" {name}={_kind(option.value)}" for option in node.options if option.value for name in option.names
    )
    parts = [f"options='{options}'"]
    if taking:
        parts.append(f"taking='{taking} '")
    if node.commands:
        parts.insert(0, f"commands='{' '.join(command.name for command in node.commands)}'")
    if node.arguments:
        kinds = [
            f"'{_kind(argument.value)}{'*' if argument.repeated else ''}'" for argument in node.arguments
        ]
        parts.append(f"arguments=({' '.join(kinds)})")
    lines = " \\\n        ".join(parts)
    return f"    '{node.path}')\n      {lines} ;;"


def _kind(value: ValueNode) -> str:
    parts = ["=" + ",".join(value.words)] if value.words else []
    if value.store_kind:
        parts.append("?" + value.store_kind)
    if value.files:
        parts.append("f")
    return ";".join(parts) or "-"
