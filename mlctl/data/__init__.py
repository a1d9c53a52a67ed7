"""Data: where it is found, how it is read without running anything in it, and how it is split."""
