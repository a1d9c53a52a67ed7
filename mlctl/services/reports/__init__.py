"""Reports of runs and registered models: what is read, and which sections it becomes."""
