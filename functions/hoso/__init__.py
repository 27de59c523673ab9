"""Hoso: a customer data platform that runs in one's own AWS account."""

__version__ = "0.1.0"
