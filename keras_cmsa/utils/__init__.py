"""Helpers without a subject of their own: whole files, CSV, names, quiet imports, missing extras."""
