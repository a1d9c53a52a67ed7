"""Checks of data before training, beyond what reading a table finds."""
