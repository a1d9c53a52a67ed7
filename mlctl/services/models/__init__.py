"""Registered models: select and fetch a model, its stages, and the history of its promotions."""
