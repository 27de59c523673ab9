"""Step Functions."""


def patch() -> None:
    """Put the repairs in place."""
