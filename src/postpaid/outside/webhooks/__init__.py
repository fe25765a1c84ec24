"""Receivers of webhooks: anybody's URLs, thus nobody to trust."""
