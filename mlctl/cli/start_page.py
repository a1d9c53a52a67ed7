"""What `mlctl` prints without arguments."""

from __future__ import annotations

from mlctl import __version__

START_PAGE = f"""\
mlctl {__version__}: train, track, register and serve Keras models on MLflow

The first minute:
  mlctl train digits               train a model, without a download
  mlctl runs list                  see the run and its scores
  mlctl register last Digits       keep the model as version 1 of a name
  mlctl serve Digits/1 --detach    answer requests at http://127.0.0.1:8000

Your own: mlctl train table.csv --target COLUMN, or mlctl train script.py

Help:
  mlctl --help                     all commands
  mlctl COMMAND --help             examples and options of a command
  mlctl doctor                     check this machine"""
