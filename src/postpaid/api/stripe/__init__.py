"""Stripe's API, mounted at /v1."""
