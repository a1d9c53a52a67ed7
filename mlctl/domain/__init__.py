"""Frozen values that services return, the output shows, and programs read as JSON."""
