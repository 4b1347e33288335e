"""A client for servers of exported models, a page to try a model on, label tools, batches."""
