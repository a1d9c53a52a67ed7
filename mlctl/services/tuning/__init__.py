"""Searching for the best values of a recipe's hyperparameters."""
