"""The parts of an endpoint's supervisor. None of them loads a model, so that the supervisor stays small."""
