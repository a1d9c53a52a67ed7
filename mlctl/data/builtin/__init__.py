"""The data sets of the built-in recipes, a module each: a function that takes a `Source` and returns a `Dataset`."""
