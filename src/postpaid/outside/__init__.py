"""The world we call: small, replaceable, slow, unreliable."""
