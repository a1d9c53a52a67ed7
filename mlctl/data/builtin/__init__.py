"""The data sets of the built-in recipes."""
