"""Files of customers' data: read in a stream, mapped to events, sent the way every event goes."""
