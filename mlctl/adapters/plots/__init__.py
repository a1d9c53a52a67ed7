"""Plots of runs and searches, drawn with matplotlib."""
