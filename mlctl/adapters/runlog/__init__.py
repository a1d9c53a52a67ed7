"""The on-disk record of runs and searches, and sending it to the tracking store."""
