"""The batch engine: segments as one SQL statement, built from sqlglot's expression objects (reference, section 9)."""
