"""The only package that knows AWS: tables, stream, bus, objects, settings, clock."""
