"""Label Studio's side of its ML backend: what it sends, after its documentation."""

import uuid

import numpy as np

from keras_cmsa.data.brush import encode_brush

CONFIG = """<View>
  <!-- The names of docs/label_tools.md -->
  <Image name="image" value="$image"/>
  <Text name="sentences" value="$text"/>
  <TextArea name="prompt" toName="image"/>
  <BrushLabels name="mask" toName="image"><Label value="object"/></BrushLabels>
  <TextArea name="phrase" toName="image" perRegion="true"/>
</View>"""


def predict_request(*tasks, typed=(), config=CONFIG):
    """The body of a `/predict` about tasks `(image, text)`, with phrases that a person typed."""
    typed = [
        {"from_name": "prompt", "to_name": "image", "type": "textarea", "value": {"text": [phrase]}}
        for phrase in typed
    ]
    return {
        "tasks": [{"id": i, "data": {"image": x, "text": t}} for i, (x, t) in enumerate(tasks)],
        "project": "3.1700000000",
        "label_config": config,
        "params": {
            "login": None,
            "password": None,
            "context": {"result": typed} if typed else None,
        },
    }


def region(mask, *phrases):
    """The parts of a brush region and of its texts."""
    height, width = np.shape(mask)
    common = {"id": uuid.uuid4().hex[:10], "to_name": "image", "origin": "manual"}
    common |= {"original_width": width, "original_height": height, "image_rotation": 0}
    brush = {"format": "rle", "rle": encode_brush(mask), "brushlabels": ["object"]}
    parts = [{**common, "from_name": "mask", "type": "brushlabels", "value": brush}]
    text = {"format": "rle", "rle": brush["rle"], "text": list(phrases)}
    text = {**common, "from_name": "phrase", "type": "textarea", "value": text}
    return [*parts, text] if phrases else parts


def webhook_request(image, text, *regions, number=1, action="ANNOTATION_CREATED", **annotation):
    """The body of a `/webhook` about an annotation of some regions."""
    parts = [part for parts in regions for part in parts]
    return {
        "action": action,
        "project": {"id": 3, "label_config": CONFIG},
        "task": {"id": 5, "data": {"image": image, "text": text}},
        "annotation": {"id": number, "result": parts, "was_cancelled": False, **annotation},
    }
