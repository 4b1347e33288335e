"""A client for servers of exported models, a page to try a model on, batches on Apache Beam."""
