"""The source of predict.py, which answers with an exported file in a process that has no mlctl."""
