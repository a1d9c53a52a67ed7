"""Names of the tags that mlctl writes to runs and registered models and reads in more than one module.

They are stored in tracking stores: a name never changes.
"""

from __future__ import annotations

# what a run is
KIND_TAG = "mlctl.kind"  # of a parent run: search, automl or evaluation
AUTOML = "automl"  # value of KIND_TAG, and kind of the first line of an automl's journal
TRIAL_TAG = "mlctl.trial"  # of a nested run: the name of the search's trial or of the automl model
RECIPE_TAG = "mlctl.recipe"
RECIPE_SHA256_TAG = "mlctl.recipe_sha256"
CODE_FILES_TAG = "mlctl.code_files"  # digests of the modules beside the recipe, by their path, as JSON
RECIPE_SOURCE_TAG = "mlctl.recipe_source"
OBJECTIVE_TAG = "mlctl.objective"  # such as max:val_accuracy
REQUEST_TAG = "mlctl.request"  # the training request as JSON
SEED_TAG = "mlctl.seed"  # the seed that a script has set
SCRIPT_TAG = "mlctl.script"  # of a run of a user's script: what was started, as JSON
PRECISION_TAG = "mlctl.precision"

# the data of a run
RUNTIME_TAG = "mlctl.runtime"  # what serves the logged model: onnxruntime or keras
RUNTIME_REASON_TAG = "mlctl.runtime_reason"  # why ONNX Runtime does not serve it
DATA_TAG = "mlctl.data"  # the source
DATA_NAME_TAG = "mlctl.data.name"
DATA_SHA256_TAG = "mlctl.data.sha256"  # of a run, and of a registered version
DATA_FILES_TAG = "mlctl.data.files"  # digests of the files that were read, by their path, as JSON
DATA_ROWS_TAG = "mlctl.data.rows"
DATA_SIZE_TAG = "mlctl.data.size_bytes"
DATA_SPLITS_TAG = "mlctl.data.splits"
DATA_SEED_TAG = "mlctl.data.seed"
DATA_SPEC_TAG = "mlctl.data.spec"  # of a script: types and shapes of what fit gets
TEST_DATA_TAG = "mlctl.test_data"  # of a script: what test_* were measured on, if that was no test data
MODEL_ERROR_TAG = "mlctl.model_error"  # why the model of a script was not logged
SCRIPT_MODELS_TAG = "mlctl.models"  # names of the models that a script trains, as JSON
MODEL_WEIGHTS_TAG = "mlctl.model_weights"  # of a script: which weights the logged model has

# the outcome of a run
STATE_TAG = "mlctl.state"  # of a trial: done, stopped, failed, running or interrupted
ERROR_TAG = "mlctl.error"
REASON_TAG = "mlctl.why"  # why a trial was stopped
ENDED_TAG = "mlctl.ended"  # why a search ended
INTERVALS_TAG = "mlctl.intervals"  # 95 % confidence intervals of metrics, as JSON
FOLDS_TAG = "mlctl.folds"  # each score of cross-validation by fold, as JSON
DURATION_TAG = "mlctl.duration_s"
PEAK_MEMORY_TAG = "mlctl.peak_memory_mb"
MODEL_URI_TAG = "mlctl.model_uri"
RUNNING_EPOCH_TAG = "mlctl.running_epoch"  # while a long epoch runs: its batch and its loss, in words

STOP_TAG = "mlctl.stop"  # somebody asks the run to stop: who, when and why, as JSON
STOP_TRIAL_PREFIX = "mlctl.stop."  # of a search: the same, followed by the name of the trial

COPIED_FROM_TAG = "mlctl.copied_from"  # of a copy: the run or version that was copied

# of a registered version: a file that was trained elsewhere
FILE_TAG = "mlctl.file"  # its name
FILE_SHA256_TAG = "mlctl.file.sha256"
FILE_LIBRARIES_TAG = "mlctl.file.libraries"  # with their versions, as far as the file says

# the plan of a search
SEARCH_TRIALS_TAG = "mlctl.search.trials"
SEARCH_EPOCHS_TAG = "mlctl.search.epochs"

# prefixes
MACHINE_PREFIX = "mlctl.machine."  # of runs of earlier versions, which have no environment.json
VERSION_PREFIX = "mlctl.version."  # of the same runs: followed by the name of a package
GIT_PREFIX = "mlctl.git."
HISTORY_PREFIX = "mlctl.log."  # of a registered model: entries of its history
VOID_PREFIX = "mlctl.void."  # of a registered model: a history entry that does not count
LOCK_PREFIX = "mlctl.lock."  # of a registered model: a writer that holds its lock or waits for it
ROLLOUT_PREFIX = "mlctl.rollout."  # of a registered model: a rollout that ended
