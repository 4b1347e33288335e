"""Helpers without a subject of their own: whole files, quiet imports, missing extras."""
