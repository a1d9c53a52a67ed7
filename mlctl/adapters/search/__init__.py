"""Search algorithms, and the executors that train trials."""
