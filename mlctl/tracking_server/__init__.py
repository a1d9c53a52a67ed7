"""The tracking server's own process: it runs alone and is told everything by one JSON line on its stdin.

Secrets come that way too, so that none is ever in an argument list or in the environment that `ps` shows.
"""
