# fish completion for mlctl, written by: mlctl completion show fish
# Words, options and recipes stand below; only what the store knows is asked of mlctl itself.

function __mlctl_takes # does option $argv[2] of the command at path $argv[1] take the next word?
    switch "$argv[1] $argv[2]"
        case 'train --epochs' 'train --batch-size' 'train --learning-rate' 'train --set' 'train --data' 'train --rows' 'train --seed' 'train --patience' 'train --precision' 'train --experiment' 'train -e' 'train --run-name' 'train --tag' 'train --register' 'train --parent' 'train --output' 'train -o' 'train --tracking-uri' 'tune --algorithm' 'tune --space' 'tune --objective' 'tune --set' 'tune --epochs' 'tune --data' 'tune --rows' 'tune --trials' 'tune --executions-per-trial' 'tune --timeout' 'tune --stop' 'tune --finalists' 'tune --max-failures' 'tune --parallel' 'tune -P' 'tune --threads' 'tune --seed' 'tune --precision' 'tune --experiment' 'tune -e' 'tune --run-name' 'tune --tag' 'tune --register' 'tune --output' 'tune -o' 'tune --tracking-uri' 'runs list --experiment' 'runs list -e' 'runs list --where' 'runs list -w' 'runs list --sort' 'runs list -s' 'runs list --columns' 'runs list -c' 'runs list --limit' 'runs list -l' 'runs list --output' 'runs list -o' 'runs list --tracking-uri' 'runs show --experiment' 'runs show -e' 'runs show --output' 'runs show -o' 'runs show --tracking-uri' 'experiments list --output' 'experiments list -o' 'experiments list --tracking-uri' 'recipes list --output' 'recipes list -o' 'recipes list --tracking-uri' 'recipes show --output' 'recipes show -o' 'recipes show --tracking-uri' 'recipes copy --output' 'recipes copy -o' 'recipes copy --tracking-uri' 'completion show --output' 'completion show -o' 'completion show --tracking-uri' 'completion install --output' 'completion install -o' 'completion install --tracking-uri'
            return 0
    end
    return 1
end

function __mlctl_at # is the cursor at path $argv[1], and at its argument number $argv[2] or number $argv[2] and later?
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
    test (count $argv) -eq 1; or test $position = "$argv[2]"; or test "$argv[3]" = more -a $position -ge "$argv[2]"
end

function __mlctl_ask # what the store says for kind $argv[1]
    command mlctl __complete $argv[1] (string unescape -- (commandline -ct); or echo) (commandline -opc)[2..-1] 2>/dev/null
end

set -g __mlctl_paths 'train' 'tune' 'runs' 'runs list' 'runs show' 'experiments' 'experiments list' 'recipes' 'recipes list' 'recipes show' 'recipes copy' 'completion' 'completion show' 'completion install'

complete -c mlctl -e
complete -c mlctl -f
complete -c mlctl -n '__mlctl_at \'\'' -a train -d 'Train a recipe and log the model to MLflow.'
complete -c mlctl -n '__mlctl_at \'\'' -a tune -d 'Search a recipe\'s hyperparameters and log the best model.'
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
complete -c mlctl -n '__mlctl_at \'tune\'' -l algorithm -x -a 'random grid bayesian hyperband' -d 'Who chooses the values.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l space -x -d '16..64:16, 1e-4..1e-1:log, adam|sgd, or one value; repeatable.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l objective -x -d 'min:val_mae, max:val_f1; default: the recipe\'s.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l set -x -d 'Any value of mlctl recipes show; repeatable.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l epochs -x -d 'Passes over the data.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l data -r -F -d 'A file, a folder, s3://… or synthetic, in place of the usual data.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l rows -x -d 'Size of synthetic data.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l trials -x -d 'At most so many trials.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l executions-per-trial -x -d 'Train each trial so often, with seeds in a row; the mean counts.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l timeout -x -d 'Begin no epoch after so long: 90s, 10m, 2h.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l stop -x -d 'bandit:slack=0.1,interval=2,delay=1 or bandit:amount=… or median:delay=1.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l finalists -x -d 'So many are trained until validation stands still; 0: the best as it was.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l max-failures -x -d 'So many failed trials in a row end the search.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l parallel -s P -x -d 'Trials at once; 0: one a core.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l threads -x -d 'Threads a trial; 0: the cores shared out.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l seed -x -d 'Seeds weights, order and dropout.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l precision -x -a 'auto float32 mixed_bfloat16' -d 'auto: bfloat16 where it is faster and safe.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l experiment -s e -x -k -a '(__mlctl_ask EXPERIMENT)' -d 'The experiment; default: the recipe\'s name.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l run-name -x -k -a '(__mlctl_ask NAME)' -d 'The run\'s name.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l tag -x -d 'Repeatable.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l register -x -k -a '(__mlctl_ask NAME)' -d 'Register the model under this name.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l dry-run -s n -d 'Show the space and the first trials.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'tune\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'tune\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'tune\' 1' -F -a 'digits housing imdb mnist mnist-mlp'
complete -c mlctl -n '__mlctl_at \'runs\'' -a list -d 'List runs, newest first, the best value of each metric marked.'
complete -c mlctl -n '__mlctl_at \'runs\'' -a show -d 'Show a run: metrics and their course, params, data, artifacts, environment.'
complete -c mlctl -n '__mlctl_at \'runs\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l experiment -s e -x -k -a '(__mlctl_ask NAME)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l where -s w -x -d 'Only runs that satisfy this; numbers are compared as numbers.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l sort -s s -x -d 'Sort by these, comma between; - before one: highest first.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l columns -s c -x -d 'Show these columns.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l limit -s l -x -d 'How many at most; 0: all.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs list\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l experiment -s e -x -k -a '(__mlctl_ask NAME)' -d 'Only this experiment; default: all.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l output -s o -x -a 'table json csv md' -d 'How the answer is written.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l tracking-uri -x -d 'The tracking store: sqlite:///FILE, postgresql://…, http://….'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l yes -s y -d 'Do not ask; taken everywhere.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l debug -d 'Show tracebacks and what is logged.'
complete -c mlctl -n '__mlctl_at \'runs show\'' -l help -s h -d 'Show this message and exit.'
complete -c mlctl -n '__mlctl_at \'runs show\' 1' -k -a '(__mlctl_ask RUN)'
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
