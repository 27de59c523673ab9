"""Likeness: which records without a common identifier are one person's (Fellegi-Sunter with three classes)."""
