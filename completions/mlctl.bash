# bash completion for mlctl, written by: mlctl completion show bash
# Words, options and recipes come from the table below; only what the store knows is asked of mlctl itself.

_mlctl_at() {  # set what the command at path $1 takes: commands, options, taking ( name=kind …), arguments
  commands= options= taking= arguments=()
  case $1 in
    '')
      commands='train tune runs experiments recipes completion' \
        options='--version --help -h' ;;
    'train')
      options='--epochs --batch-size --learning-rate --set --data --rows --seed --patience --precision --experiment -e --run-name --tag --register --parent --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --epochs=- --batch-size=- --learning-rate=- --set=- --data=f --rows=- --seed=- --patience=- --precision==auto,float32,mixed_bfloat16 --experiment=?EXPERIMENT -e=?EXPERIMENT --run-name=?NAME --tag=- --register=?NAME --parent=?RUN --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,imdb,mnist,mnist-mlp;f') ;;
    'tune')
      options='--algorithm --space --objective --set --epochs --data --rows --trials --executions-per-trial --timeout --stop --finalists --max-failures --parallel -P --threads --seed --precision --experiment -e --run-name --tag --register --dry-run -n --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --algorithm==random,grid,bayesian,hyperband --space=- --objective=- --set=- --epochs=- --data=f --rows=- --trials=- --executions-per-trial=- --timeout=- --stop=- --finalists=- --max-failures=- --parallel=- -P=- --threads=- --seed=- --precision==auto,float32,mixed_bfloat16 --experiment=?EXPERIMENT -e=?EXPERIMENT --run-name=?NAME --tag=- --register=?NAME --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,imdb,mnist,mnist-mlp;f') ;;
    'runs')
      commands='list show' \
        options='--help -h' ;;
    'runs list')
      options='--experiment -e --where -w --sort -s --columns -c --limit -l --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?NAME -e=?NAME --where=- -w=- --sort=- -s=- --columns=- -c=- --limit=- -l=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'runs show')
      options='--experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?NAME -e=?NAME --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'experiments')
      commands='list' \
        options='--help -h' ;;
    'experiments list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'recipes')
      commands='list show copy' \
        options='--help -h' ;;
    'recipes list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'recipes show')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,imdb,mnist,mnist-mlp') ;;
    'recipes copy')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,imdb,mnist,mnist-mlp' 'f') ;;
    'completion')
      commands='show install' \
        options='--help -h' ;;
    'completion show')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=bash,zsh,fish') ;;
    'completion install')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=bash,zsh,fish') ;;
  esac
}

_mlctl_offer() {  # add what a value of kind $1 can be: =word,word… the words, f files, ?KIND what the store says
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
    ((position < ${#arguments[@]})) || position=$((${#arguments[@]} - 1))
    [[ ${arguments[position]} == *\* || $position -eq ${#arguments[@]}-1 ]]
    _mlctl_offer "${arguments[position]%\*}"
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
