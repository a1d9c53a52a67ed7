"""Runs of a user's own script."""
