"""Who is asking: the façades over one engine."""
