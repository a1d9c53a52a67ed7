"""Data: finding files, reading them without running code in them, and splitting rows."""
