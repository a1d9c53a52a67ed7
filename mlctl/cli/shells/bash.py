"""The bash script: one table of the commands, and a small function that walks the words typed along it."""

from __future__ import annotations

from mlctl.cli.shells.tree import Node, Value

ENGINE = r"""# bash completion for mlctl, written by: mlctl completion show bash
# Words, options and recipes come from the table below; only what the store knows is asked of mlctl itself.

_mlctl_at() {  # set what the command at path $1 takes: commands, options, taking ( name=kind …), arguments
  commands= options= taking= arguments=()
  case $1 in
@TABLE@
  esac
}

_mlctl_offer() {  # add what a value of kind $1 can be: =word,word… words, f files, ?KIND what the store says
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

_mlctl_add() {  # add those words that begin with what is typed, quoted as the line needs it
  local word
  for word; do
    [[ $word == "$plain"* ]] || continue
    [[ $quote ]] || printf -v word %q "$word"
    COMPREPLY+=("$begin$word")
  done
}

_mlctl_typed() {  # put the words as typed into `typed`: bash has cut them at : and =
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
  if [[ ! $quote ]]; then  # bash puts in what follows its last cut only
    word=${typed[${#typed[@]} - 1]}
    cut=${word%"${word##*[:=]}"}
    if [[ $cut ]]; then
      for index in "${!COMPREPLY[@]}"; do COMPREPLY[index]=${COMPREPLY[index]#"$cut"}; done
    fi
  fi
}

complete -F _mlctl mlctl
"""


def render(root: Node) -> str:
    """Return the script."""
    return ENGINE.replace("@TABLE@", "\n".join(_case(one) for one in root.walk()))


def _case(node: Node) -> str:
    options = " ".join(name for option in node.options for name in option.names)
    taking = "".join(
        f" {name}={_kind(option.value)}" for option in node.options if option.value for name in option.names
    )
    parts = [f"options='{options}'"]
    if taking:
        parts.append(f"taking='{taking} '")
    if node.commands:
        parts.insert(0, f"commands='{' '.join(one.name for one in node.commands)}'")
    if node.arguments:
        kinds = [f"'{_kind(one.value)}{'*' if one.repeats else ''}'" for one in node.arguments]
        parts.append(f"arguments=({' '.join(kinds)})")
    lines = " \\\n        ".join(parts)
    return f"    '{node.path}')\n      {lines} ;;"


def _kind(value: Value) -> str:
    parts = ["=" + ",".join(value.words)] if value.words else []
    if value.ask:
        parts.append("?" + value.ask)
    if value.files:
        parts.append("f")
    return ";".join(parts) or "-"
