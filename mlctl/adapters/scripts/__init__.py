"""Running a user's own script, and seeing what it does with Keras."""
