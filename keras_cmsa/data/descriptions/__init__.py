"""Sentences from masks: expressions that fit exactly one of the annotated objects of a photo.

the sentences   rules.py    what each says of an object, and the proof that it is true of one
the files       writer.py   from COCO's instances to a table of one's own
"""
