"""The record of runs and searches on disk, and sending it to the tracking store."""
