"""Words shared by every capability: events, identifiers, time, errors. No AWS, no I/O."""
