"""Runs: finding, listing, comparing, watching and deleting them."""
