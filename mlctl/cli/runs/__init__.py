"""mlctl runs: a module for each command."""
