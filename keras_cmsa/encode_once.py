"""A model in two: what depends on the image alone, and what a sentence adds.

One image is often asked many sentences. The first part then runs once.
"""

import keras


def split_at_words(model):
    """Splits a model from image and words into two that give the same, sharing its weights.

    Args:
        model: functional, with the inputs `image` and `words`, such as `build_cmsa` makes.

    Returns:
        `(image_model, sentence_model)`. The first takes `image` and returns its code, a list of
        tensors, each with the batch in front; the second takes `{"code": code, "words": words}`
        and returns what the model does.

    Raises:
        ValueError: if the model's inputs are others.
    """
    check_inputs(model)
    image = keras.Input(batch_shape=model.input["image"].shape, name="image")
    words = keras.Input(batch_shape=model.input["words"].shape, dtype="int32", name="words")
    of_image = {id(image): image}  # tensors that no word has a part in
    code = {}  # those of them that meet words

    def call(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        given = [x for x in keras.tree.flatten((args, kwargs)) if keras.utils.is_keras_tensor(x)]
        ours = [x for x in given if id(x) in of_image]
        if len(ours) == len(given):
            of_image.update((id(x), x) for x in keras.tree.flatten(outputs))
        else:
            code.update((id(x), x) for x in ours)
        return outputs

    whole = keras.models.clone_model(
        model,
        input_tensors={"image": image, "words": words},
        clone_function=lambda layer: layer,
        call_function=call,
    )
    code = list(code.values())
    image_model = keras.Model(image, code, name=f"{model.name}_image")
    sentence_model = keras.Model(
        {"code": code, "words": words}, whole.output, name=f"{model.name}_sentence"
    )
    return image_model, sentence_model


def check_inputs(model):
    """Raises ValueError for a model that is not one of image and words."""
    inputs = getattr(model, "input", None)
    if not isinstance(inputs, dict) or set(inputs) != {"image", "words"}:
        raise ValueError(
            "Wanted a functional model with the inputs 'image' and 'words', as build_cmsa makes. "
            f"Received: {model.name!r} with {inputs}"
        )
