"""What this machine does, beside what it could do at most, measured in the same run."""
