"""Offline inference at scale: a table of images and expressions through Apache Beam. Extra `beam`.

The table is cut into shards, each some images with their expressions, and a shard is one element of
the pipeline: it is read, segmented and written as a whole. Nothing is grouped behind the model,
since a batch runner holds everything back at a `GroupByKey`: a stop would lose the whole run.
"""
