"""A self-hosted billing engine for a base fee, an included allotment, and overage in arrears."""

__version__ = "0.1.0"
