"""Rollouts and shadows: versions of a model that run beside the one that an endpoint serves."""
