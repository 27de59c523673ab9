"""Computed traits and scores: documents like segments, live where the state allows, else by night."""
