"""Registered models: versions, stages, gates, and the history that decides between them."""
