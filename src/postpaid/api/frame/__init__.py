"""Frame's API, in JSON: translation, and nothing else."""
