"""Watched traffic: the profile of the training data, the request log, feedback, and drift."""
