"""Services for a project and its machine: init, doctor and shell completion."""
