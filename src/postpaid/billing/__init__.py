"""What happens: one verb, one file. Read, decide, write, and always for a batch."""
