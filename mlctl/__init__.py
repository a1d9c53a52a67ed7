"""mlctl: one command line for the whole life of a Keras model on MLflow."""

__version__ = "0.1.0"
