"""S3 and folders as storage for artifacts and shared files."""
