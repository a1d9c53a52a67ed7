"""Registered models: selecting versions, stages, and the history of promotions."""
