# fish completion for mlctl, written by: mlctl completion show fish
# Words, options and recipes stand below; only what the store knows is asked of mlctl itself.

function __mlctl_takes # does option $argv[2] of the command at path $argv[1] take the next word?
    switch "$argv[1] $argv[2]"
        case 'train --experiment' 'train -e' 'train --output' 'train -o' 'train --tracking-uri' 'recipes list --output' 'recipes list -o' 'recipes list --tracking-uri' 'recipes show --output' 'recipes show -o' 'recipes show --tracking-uri' 'recipes copy --output' 'recipes copy -o' 'recipes copy --tracking-uri' 'completion show --output' 'completion show -o' 'completion show --tracking-uri' 'completion install --output' 'completion install -o' 'completion install --tracking-uri'
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

set -g __mlctl_paths 'train' 'runs' 'experiments' 'recipes' 'recipes list' 'recipes show' 'recipes copy' 'completion' 'completion show' 'completion install'

complete -c mlctl -e
complete -c mlctl -f
complete -c mlctl -n '__mlctl_at \'\'' -a train -d 'Train a recipe and log the model to MLflow.'
complete -c mlctl -n '__mlctl_at \'\'' -a runs -d 'List runs.'
complete -c mlctl -n '__mlctl_at \'\'' -a experiments -d 'List experiments.'
complete -c mlctl -n '__mlctl_at \'\'' -a recipes -d 'List, show and copy what can be trained.'
complete -c mlctl -n '__mlctl_at \'\'' -a completion -d 'Show or install the completion script of a shell.'
complete -c mlctl -n '__mlctl_at \'\'' -l version -d 'Show the version and leave.'
complete -c mlctl -n '__mlctl_at \'\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'train\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'The experiment; default: the recipe\'s name.'
complete -c mlctl -n '__mlctl_at \'train\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'train\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'train\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'train\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'train\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'train\' 1' -F -a 'digits housing imdb mnist mnist-mlp'
complete -c mlctl -n '__mlctl_at \'runs\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'experiments\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'recipes\'' -a list -d 'List the recipes that are installed.'
complete -c mlctl -n '__mlctl_at \'recipes\'' -a show -d 'Show what can be set on a recipe, with its bounds.'
complete -c mlctl -n '__mlctl_at \'recipes\'' -a copy -d 'Copy a recipe to a file that is yours to change.'
complete -c mlctl -n '__mlctl_at \'recipes\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'recipes list\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'recipes list\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'recipes list\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'recipes list\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'recipes list\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'recipes show\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'recipes show\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'recipes show\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'recipes show\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'recipes show\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'recipes show\' 1' -a 'digits housing imdb mnist mnist-mlp'
complete -c mlctl -n '__mlctl_at \'recipes copy\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'recipes copy\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'recipes copy\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'recipes copy\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'recipes copy\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'recipes copy\' 1' -a 'digits housing imdb mnist mnist-mlp'
complete -c mlctl -n '__mlctl_at \'recipes copy\' 2' -F
complete -c mlctl -n '__mlctl_at \'completion\'' -a show -d 'Write the completion script to stdout.'
complete -c mlctl -n '__mlctl_at \'completion\'' -a install -d 'Put the completion script where the shell finds it.'
complete -c mlctl -n '__mlctl_at \'completion\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'completion show\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'completion show\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'completion show\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'completion show\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'completion show\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'completion show\' 1' -a 'bash zsh fish'
complete -c mlctl -n '__mlctl_at \'completion install\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'completion install\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'completion install\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'completion install\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'completion install\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'completion install\' 1' -a 'bash zsh fish'
