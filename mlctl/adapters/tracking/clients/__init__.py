"""Clients of tracking stores that do not import MLflow, and the choice between them and MLflow's own."""
