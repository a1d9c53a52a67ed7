"""Frozen values: services return them, the output shows them, and programs read them as JSON."""
