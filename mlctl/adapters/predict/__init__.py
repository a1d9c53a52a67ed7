"""Clients, input files and output files of predictions."""
