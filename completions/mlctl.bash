# bash completion for mlctl, written by: mlctl completion show bash
# Words, options and recipes come from the table below; mlctl itself is only called for what the tracking store has.

_mlctl_at() {  # set commands, options, taking ( name=kind …) and arguments of the command at path $1
  commands= options= taking= arguments=()
  case $1 in
    '')
      commands='train tune automl resume reproduce sync data runs experiments register promote rollback models webhooks serve predict evaluate endpoints keys server-up server-status server-logs server-audit server-down server-backup server-restore server-gc import login users tokens export recipes init notify doctor completion' \
        options='--version --help -h' ;;
    'train')
      options='--target --validation --test --folds --data --epochs --batch-size --learning-rate --set --seed --patience --experiment -e --run-name --tag --register --no-report --report --offline --no-notify --notify --objective --module -m --recipe --script --keep --model --cluster --storage --cpu --gpu --memory --workers --rows --precision --parent --checkpoint-every --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --target=- --validation=f --test=f --folds=- --data=f --epochs=- --batch-size=- --learning-rate=- --set=?SETTING --seed=- --patience=- --experiment=?EXPERIMENT -e=?EXPERIMENT --run-name=- --tag=- --register=?NAME --objective=?OBJECTIVE --keep==best,last --model=- --cluster=- --storage=f --cpu=- --gpu=- --memory=- --workers=- --rows=- --precision==auto,float32,mixed_bfloat16 --parent=?RUN --checkpoint-every=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f' '-*') ;;
    'tune')
      options='--target --data --algorithm --space --objective --epochs --set --seed --trials --timeout --stop --parallel -P --experiment -e --run-name --tag --register --no-report --report --dry-run -n --module -m --recipe --script --cluster --storage --cpu --gpu --memory --rows --precision --executions-per-trial --finalists --max-failures --threads --flag-style --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --target=- --data=f --algorithm==random,grid,bayesian,hyperband --space=?SPACE --objective=?OBJECTIVE --epochs=- --set=?SETTING --seed=- --trials=- --timeout=- --stop=- --parallel=- -P=- --experiment=?EXPERIMENT -e=?EXPERIMENT --run-name=- --tag=- --register=?NAME --cluster=- --storage=f --cpu=- --gpu=- --memory=- --rows=- --precision==auto,float32,mixed_bfloat16 --executions-per-trial=- --finalists=- --max-failures=- --threads=- --flag-style==space,equals,underscore --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f' '-*') ;;
    'automl')
      options='--target --validation --test --data --metric -m --families --set --seed --timeout --experiment -e --run-name --tag --register --no-report --report --dry-run -n --rows --no-featurize --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --target=- --validation=f --test=f --data=f --metric==mae,rmse,normalized_root_mean_squared_error,r2,accuracy,precision,recall,f1,auc,log_loss,brier,average_precision -m==mae,rmse,normalized_root_mean_squared_error,r2,accuracy,precision,recall,f1,auc,log_loss,brier,average_precision --families=- --set=?SETTING --seed=- --timeout=- --experiment=?EXPERIMENT -e=?EXPERIMENT --run-name=- --tag=- --register=?NAME --rows=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f') ;;
    'resume')
      options='--epochs --trials --force --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --epochs=- --trials=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'reproduce')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'sync')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'data')
      commands='check' \
        options='--help -h' ;;
    'data check')
      options='--target --validation --test --data --set --html --strict --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --target=- --validation=f --test=f --data=f --set=?SETTING --html=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('f') ;;
    'runs')
      commands='list show diff plot report watch artifacts stop tag rename copy move delete restore' \
        options='--help -h' ;;
    'runs list')
      options='--experiment -e --where -w --sort -s --columns -c --limit -l --trials --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?EXPERIMENT -e=?EXPERIMENT --where=- -w=- --sort=?FIELD -s=?FIELD --columns=?FIELD -c=?FIELD --limit=- -l=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'runs show')
      options='--experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'runs diff')
      options='--experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN' '?RUN') ;;
    'runs plot')
      options='--metric -m --save --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --metric=?METRIC -m=?METRIC --save=f --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN*') ;;
    'runs report')
      options='--out --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --out=f --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN*') ;;
    'runs watch')
      options='--experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'runs artifacts')
      options='--get -g --to --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --get=- -g=- --to=f --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'runs stop')
      options='--reason --no-wait --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --reason=- --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN') ;;
    'runs tag')
      options='--remove --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --remove=- --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN' '-*') ;;
    'runs rename')
      options='--experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN' '?NAME') ;;
    'runs copy')
      options='--to --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to=- --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN*') ;;
    'runs move')
      options='--to --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to=- --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN*') ;;
    'runs delete')
      options='--where -w --dry-run -n --experiment -e --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --where=- -w=- --experiment=?EXPERIMENT -e=?EXPERIMENT --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN*') ;;
    'runs restore')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?RUN*') ;;
    'experiments')
      commands='list create rename delete restore' \
        options='--help -h' ;;
    'experiments list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'experiments create')
      options='--artifact-location --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --artifact-location=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?EXPERIMENT') ;;
    'experiments rename')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?EXPERIMENT' '?NAME') ;;
    'experiments delete')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?EXPERIMENT') ;;
    'experiments restore')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?EXPERIMENT') ;;
    'register')
      options='--description --tag --force --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --description=- --tag=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f' '?NAME') ;;
    'promote')
      options='--require --no-regress --evaluate --from --smoke --skip-gates --reason --dry-run -n --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --require=?METRIC --no-regress=?METRIC --evaluate==digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f --from=?STAGE --reason=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '?VERSION' '?STAGE') ;;
    'rollback')
      options='--to --reason --dry-run -n --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to=?VERSION --reason=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '?STAGE') ;;
    'models')
      commands='list show diff history card reconcile copy set delete download' \
        options='--help -h' ;;
    'models list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'models show')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '?VERSION') ;;
    'models diff')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '?VERSION' '?VERSION') ;;
    'models history')
      options='--stage --at --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --stage=?STAGE --at=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME') ;;
    'models card')
      options='--html --slice --set-description --force --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --html=f --slice=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f') ;;
    'models reconcile')
      options='--accept --restore --dry-run -n --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME') ;;
    'models copy')
      options='--to-uri --stage --reason --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to-uri=- --stage=?STAGE --reason=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f') ;;
    'models set')
      options='--description --tag --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --description=- --tag=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '?VERSION') ;;
    'models delete')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '?VERSION') ;;
    'models download')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f' 'f') ;;
    'webhooks')
      commands='list add delete test' \
        options='--help -h' ;;
    'webhooks list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'webhooks add')
      options='--event --secret-file --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --event=- --secret-file=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME' '-') ;;
    'webhooks delete')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME') ;;
    'webhooks test')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME') ;;
    'serve')
      options='--host --port --api-key-file --cors --timeout --strict --batch --log-requests --redact --workers --metrics --no-metrics --watch --detach --name --shadow --shadow-share --insecure --tls-cert --tls-key --allowed-host --max-body --max-queue --log-size --allow-signature-change --env-manager --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --host=- --port=- --api-key-file=f --cors=- --timeout=- --batch=- --log-requests=- --redact=- --workers=- --name=?ENDPOINT --shadow=?MODEL;f --shadow-share=- --tls-cert=f --tls-key=f --allowed-host=- --max-body=- --max-queue=- --log-size=- --env-manager==local,virtualenv,uv --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f') ;;
    'predict')
      options='--sample --out --like --api-key-file --batch-size --cluster --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --sample=- --out=f --like=f --api-key-file=f --batch-size=- --cluster=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f' 'f*') ;;
    'evaluate')
      options='--target --data --against --log --experiment -e --rows --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --target=- --data=f --against=?MODEL;f --experiment=?EXPERIMENT -e=?EXPERIMENT --rows=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f' '=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f') ;;
    'endpoints')
      commands='list show logs rollout drift stop' \
        options='--help -h' ;;
    'endpoints list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'endpoints show')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?ENDPOINT') ;;
    'endpoints logs')
      options='--lines --follow -f --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --lines=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?ENDPOINT') ;;
    'endpoints rollout')
      options='--to --steps --every --guard --sticky --promote --detach --abort --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to=?VERSION --steps=- --every=- --guard=- --sticky=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?ENDPOINT') ;;
    'endpoints drift')
      options='--since --html --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --since=- --html=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?ENDPOINT') ;;
    'endpoints stop')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?ENDPOINT') ;;
    'keys')
      commands='new list revoke' \
        options='--help -h' ;;
    'keys new')
      options='--api-key-file --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --api-key-file=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-') ;;
    'keys list')
      options='--api-key-file --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --api-key-file=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'keys revoke')
      options='--api-key-file --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --api-key-file=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?OWNER') ;;
    'server-up')
      options='--name --host --port --create-bucket --artifacts-only --workspaces --dry-run -n --auth --admin-password-file --default-permission --static-prefix --workers --metrics --no-metrics --root --backend --backend-file --artifacts --bucket --prefix --endpoint-url --upgrade-db --migrate-only --direct-artifacts --adopt-artifacts --trusted-proxy --user-header --insecure --tls-cert --tls-key --allowed-host --cors-origins --supervise --foreground --print-env --region --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --name=?SERVER --host=- --port=- --auth==basic,proxy --admin-password-file=f --default-permission==none,read,edit,manage --static-prefix=f --workers=- --root=f --backend=- --backend-file=f --artifacts=- --bucket=- --prefix=- --endpoint-url=- --trusted-proxy=- --user-header=?NAME --tls-cert=f --tls-key=f --allowed-host=- --cors-origins=- --region=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'server-status')
      options='--name --all --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --name=?SERVER --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'server-logs')
      options='--name --lines --follow -f --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --name=?SERVER --lines=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'server-audit')
      options='--name --user --since --lines --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --name=?SERVER --user=- --since=- --lines=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'server-down')
      options='--name --grace --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --name=?SERVER --grace=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'server-backup')
      options='--no-artifacts --name --root --backend --backend-file --artifacts --bucket --prefix --endpoint-url --region --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --name=?SERVER --root=f --backend=- --backend-file=f --artifacts=- --bucket=- --prefix=- --endpoint-url=- --region=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('f') ;;
    'server-restore')
      options='--create-bucket --dry-run -n --root --backend --backend-file --artifacts --bucket --prefix --endpoint-url --region --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --root=f --backend=- --backend-file=f --artifacts=- --bucket=- --prefix=- --endpoint-url=- --region=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('f') ;;
    'server-gc')
      options='--older-than --dry-run -n --name --root --backend --backend-file --artifacts --bucket --prefix --endpoint-url --region --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --older-than=- --name=?SERVER --root=f --backend=- --backend-file=f --artifacts=- --bucket=- --prefix=- --endpoint-url=- --region=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'import')
      options='--experiment -e --run --artifacts --no-artifacts --dry-run -n --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?EXPERIMENT -e=?EXPERIMENT --run=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f') ;;
    'login')
      options='--username -u --password-file --ca-cert --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --username=- -u=- --password-file=f --ca-cert=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-') ;;
    'users')
      commands='list add password delete grant revoke' \
        options='--help -h' ;;
    'users list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'users add')
      options='--admin --password-file --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --password-file=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-') ;;
    'users password')
      options='--password-file --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --password-file=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-') ;;
    'users delete')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-') ;;
    'users grant')
      options='--experiment -e --model --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?NAME -e=?NAME --model=?NAME --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-' '-') ;;
    'users revoke')
      options='--experiment -e --model --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --experiment=?NAME -e=?NAME --model=?NAME --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('-' '-') ;;
    'tokens')
      commands='new list revoke' \
        options='--help -h' ;;
    'tokens new')
      options='--user --expires --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --user=- --expires=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME') ;;
    'tokens list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'tokens revoke')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?NAME') ;;
    'export')
      commands='server model' \
        options='--help -h' ;;
    'export server')
      options='--to --host --image --bucket --prefix --endpoint-url --database-port --upstream --static-prefix --region --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to=- --host=- --image=- --bucket=- --prefix=- --endpoint-url=- --database-port=- --upstream=- --static-prefix=f --region=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('f') ;;
    'export model')
      options='--to --image --host --cpu --memory --quantize --proof --max-loss --force --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --to==docker,kubernetes,kserve,azureml,onnx,savedmodel,keras,litert,python --image=- --host=- --cpu=- --memory=- --quantize==float16,int8,dynamic --proof==digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts;f --max-loss=- --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('?MODEL;f' 'f') ;;
    'recipes')
      commands='list show copy check' \
        options='--help -h' ;;
    'recipes list')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'recipes show')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts') ;;
    'recipes copy')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts' 'f') ;;
    'recipes check')
      options='--target --data --set --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --target=- --data=f --set=?SETTING --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('=digits,housing,images,imdb,mnist,mnist-cnn,mnist-mlp,tabular,texts') ;;
    'init')
      options='--script --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --script=f --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' \
        arguments=('f') ;;
    'notify')
      commands='test' \
        options='--help -h' ;;
    'notify test')
      options='--output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
    'doctor')
      options='--deep --output -o --tracking-uri --yes -y --debug --help -h' \
        taking=' --output==table,json,csv,md -o==table,json,csv,md --tracking-uri=- ' ;;
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
