"""Verbs: each takes plain values and returns frozen ones; none prints, parses argv or leaves."""
