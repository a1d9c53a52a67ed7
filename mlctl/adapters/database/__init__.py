"""The tracking database, read and written without loading MLflow."""
