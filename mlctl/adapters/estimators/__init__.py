"""Model families that automl fits: tree ensembles, linear models and networks."""
