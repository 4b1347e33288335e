"""A client for servers of exported models, and a demo page."""
