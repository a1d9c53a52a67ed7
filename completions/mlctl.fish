# fish completion for mlctl, written by: mlctl completion show fish
# Words, options and recipes stand below; only what the store knows is asked of mlctl itself.

function __mlctl_takes # does option $argv[2] of the command at path $argv[1] take the next word?
    switch "$argv[1] $argv[2]"
        case 'train --epochs' 'train --batch-size' 'train --learning-rate' 'train --set' 'train --data' 'train --rows' 'train --seed' 'train --patience' 'train --precision' 'train --experiment' 'train -e' 'train --run-name' 'train --tag' 'train --register' 'train --parent' 'train --output' 'train -o' 'train --tracking-uri' 'runs list --experiment' 'runs list -e' 'runs list --where' 'runs list -w' 'runs list --sort' 'runs list -s' 'runs list --columns' 'runs list -c' 'runs list --limit' 'runs list -l' 'runs list --output' 'runs list -o' 'runs list --tracking-uri' 'runs show --experiment' 'runs show -e' 'runs show --output' 'runs show -o' 'runs show --tracking-uri' 'runs diff --experiment' 'runs diff -e' 'runs diff --output' 'runs diff -o' 'runs diff --tracking-uri' 'runs plot --metric' 'runs plot -m' 'runs plot --save' 'runs plot --experiment' 'runs plot -e' 'runs plot --output' 'runs plot -o' 'runs plot --tracking-uri' 'runs watch --experiment' 'runs watch -e' 'runs watch --output' 'runs watch -o' 'runs watch --tracking-uri' 'runs artifacts --get' 'runs artifacts -g' 'runs artifacts --to' 'runs artifacts --experiment' 'runs artifacts -e' 'runs artifacts --output' 'runs artifacts -o' 'runs artifacts --tracking-uri' 'runs delete --experiment' 'runs delete -e' 'runs delete --output' 'runs delete -o' 'runs delete --tracking-uri' 'experiments list --output' 'experiments list -o' 'experiments list --tracking-uri' 'recipes list --output' 'recipes list -o' 'recipes list --tracking-uri' 'recipes show --output' 'recipes show -o' 'recipes show --tracking-uri' 'recipes copy --output' 'recipes copy -o' 'recipes copy --tracking-uri' 'completion show --output' 'completion show -o' 'completion show --tracking-uri' 'completion install --output' 'completion install -o' 'completion install --tracking-uri'
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

set -g __mlctl_paths 'train' 'runs' 'runs list' 'runs show' 'runs diff' 'runs plot' 'runs watch' 'runs artifacts' 'runs delete' 'experiments' 'experiments list' 'recipes' 'recipes list' 'recipes show' 'recipes copy' 'completion' 'completion show' 'completion install'

complete -c mlctl -e
complete -c mlctl -f
complete -c mlctl -n '__mlctl_at \'\'' -a train -d 'Train a recipe and log the model to MLflow.'
complete -c mlctl -n '__mlctl_at \'\'' -a runs -d 'Find, show, compare and tidy runs.'
complete -c mlctl -n '__mlctl_at \'\'' -a experiments -d 'List experiments.'
complete -c mlctl -n '__mlctl_at \'\'' -a recipes -d 'List, show and copy what can be trained.'
complete -c mlctl -n '__mlctl_at \'\'' -a completion -d 'Show or install the completion script of a shell.'
complete -c mlctl -n '__mlctl_at \'\'' -l version -d 'Show the version and leave.'
complete -c mlctl -n '__mlctl_at \'\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'train\'' -l epochs -x -d 'Passes over the data.'
complete -c mlctl -n '__mlctl_at \'train\'' -l batch-size -x -d 'Examples a step.'
complete -c mlctl -n '__mlctl_at \'train\'' -l learning-rate -x -d 'The optimizer\'s step.'
complete -c mlctl -n '__mlctl_at \'train\'' -l set -x -d 'Any value of mlctl recipes show; repeatable.'
complete -c mlctl -n '__mlctl_at \'train\'' -l data -r -F -d 'A file, a folder, s3://… or synthetic, in place of the usual data.'
complete -c mlctl -n '__mlctl_at \'train\'' -l rows -x -d 'Size of synthetic data.'
complete -c mlctl -n '__mlctl_at \'train\'' -l seed -x -d 'Seeds weights, order and dropout.'
complete -c mlctl -n '__mlctl_at \'train\'' -l patience -x -d 'Stop after so many epochs without a better one.'
complete -c mlctl -n '__mlctl_at \'train\'' -l precision -x -a 'auto float32 mixed_bfloat16' -d 'auto: bfloat16 where it is faster and safe.'
complete -c mlctl -n '__mlctl_at \'train\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'The experiment; default: the recipe\'s name.'
complete -c mlctl -n '__mlctl_at \'train\'' -l run-name -x -k -a '(__mlctl_ask NAME)' -d 'The run\'s name.'
complete -c mlctl -n '__mlctl_at \'train\'' -l tag -x -d 'Repeatable.'
complete -c mlctl -n '__mlctl_at \'train\'' -l register -x -k -a '(__mlctl_ask NAME)' -d 'Register the model under this name.'
complete -c mlctl -n '__mlctl_at \'train\'' -l parent -x -k -a '(__mlctl_ask RUN)' -d 'Nest the run under another.'
complete -c mlctl -n '__mlctl_at \'train\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'train\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'train\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'train\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'train\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'train\' 1' -F -a 'digits housing imdb mnist mnist-mlp'
complete -c mlctl -n '__mlctl_at \'runs\'' -a list -d 'List runs, newest first, the best value of each metric marked.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a show -d 'Show a run: metrics and their course, params, data, artifacts, environment.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a diff -d 'Show what differs between two runs, and nothing else.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a plot -d 'Draw a metric by epoch, several runs in one picture.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a watch -d 'Follow a run that is being trained, here or on another machine, until it ends.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a artifacts -d 'List the files of a run, its model\'s among them, or copy one here.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a delete -d 'Delete runs with their models; one that is registered is refused.'
complete -c mlctl -n '__mlctl_at \'runs\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l where -s w -x -d 'Only runs that satisfy this; numbers are compared as numbers.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l sort -s s -x -d 'Sort by these, comma between; - before one: highest first.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l columns -s c -x -d 'Show these columns.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l limit -s l -x -d 'How many at most; 0: all.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs show\' 1' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'runs diff\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs diff\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs diff\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs diff\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs diff\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs diff\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs diff\' 1' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'runs diff\' 2' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l metric -s m -x -d 'The metric; default: what the run tries to reach.'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l save -r -F -d 'Write a picture, too: .png, .svg, .pdf.'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs plot\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs plot\' 1 more' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'runs watch\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs watch\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs watch\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs watch\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs watch\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs watch\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs watch\' 1' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l get -s g -x -d 'Copy this file or folder here.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l to -r -F -d 'Where to, with --get.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs artifacts\' 1' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l dry-run -s n -d 'Only show what would be done.'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs delete\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs delete\' 1 more' -k -a '(__mlctl_ask RUN)'
complete -c mlctl -n '__mlctl_at \'experiments\'' -a list -d 'List the experiments and how many runs each holds.'
complete -c mlctl -n '__mlctl_at \'experiments\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'experiments list\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'experiments list\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'experiments list\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'experiments list\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'experiments list\'' -l help -s h -d 'Show this message and exit.'
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
