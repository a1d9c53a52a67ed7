"""The tracking store and the model registry, through MLflow."""
