"""The process of the tracking server. It runs alone and reads its whole configuration as one JSON line on stdin.

Secrets arrive on stdin too. They are never in an argument list, nor in the environment that `ps` shows.
"""
