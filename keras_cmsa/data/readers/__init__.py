"""Readers of data sets, one per file layout; each returns records."""
