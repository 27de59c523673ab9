"""Scores of people: definitions as documents, models in numpy, results as traits and scores of the profile."""
