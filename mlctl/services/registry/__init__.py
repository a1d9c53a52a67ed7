"""Register, promote, compare and delete models of the registry."""
