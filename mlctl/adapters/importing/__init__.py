"""Read other tracking stores, and write what they hold into MLflow's tables."""
