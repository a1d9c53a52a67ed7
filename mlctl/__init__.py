"""mlctl: a Keras model's whole life on MLflow, from one command line."""

__version__ = "0.1.0"
