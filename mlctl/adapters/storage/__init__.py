"""Folders and S3 buckets as storage for artifacts and for files that a cluster shares."""
