"""Looking at runs: which there are, what they hold, how they differ."""
