"""Whether the importance of words names the word that counts, and what an explanation costs.

    python benchmarks/explanations.py --model runs/demo         words of RefShapes; the paper's sizes
    python benchmarks/explanations.py                           the cost alone, random weights

RefShapes know what each expression needs: in "red striped circle", "red" is the one word that
counts if the image has other striped circles, but no other red circle and no other red striped
thing. Such expressions are asked of a trained model, and its most important word is compared.
The cost is the time of `Explainer` on one sentence against `Predictor`, on an image that neither has
seen. benchmarks/README.md says how it is measured.
"""

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import cli
import measure
import numpy as np
from predictor import draw_sentences, random_predictor
from rich.progress import track

from keras_cmsa.data.ref_shapes.meaning import Judge, Noun
from keras_cmsa.data.ref_shapes.things import COLOURS, SHAPES, TEXTURES
from keras_cmsa.data.ref_shapes.wording import SYNONYMS
from keras_cmsa.data.sources import read_records
from keras_cmsa.explain.explanations import Explainer
from keras_cmsa.explain.word_importance import explain_words
from keras_cmsa.inference.predictor import Predictor

VALUES = {"shape": SHAPES, "colour": COLOURS, "size": ("big", "small"), "texture": TEXTURES}
# {word: (attribute, value)}; of "with stripes" the last word.
MEANINGS = {
    wording.split()[-1]: (attribute, value)
    for attribute, values in VALUES.items()
    for value in values
    for wording in (value, *SYNONYMS.get(value, ()))
}
FILLERS = {"the", "a", "with", *SYNONYMS[None]}  # None is the noun that names no shape


@cli.options
class Options:
    """What is measured: of words with `--model` only, which was trained on RefShapes."""

    model: cli.Model = None
    data_dir: Path = Path("data/ref_shapes")
    """RefShapes, as `keras-cmsa synthesize` or a training left them."""
    split: str = "val"
    """The split to take expressions from."""
    repeats: cli.Repeats = 5
    image_size: cli.ImageSize = 320
    small: cli.Small = False
    length: int = 12
    """Words of the sentence, for the cost."""


def hinges(records, annotations):
    """Expressions that hinge on one word.

    Args:
        records: list of `Record` of RefShapes.
        annotations: list of COCO's annotations of RefShapes.

    Yields:
        `(record, place)`: the place among the words of the only one without which the expression
        would no longer refer to one thing.
    """
    by_image = {
        image: list(group)
        for image, group in itertools.groupby(annotations, lambda a: a["image_id"])
    }
    for record in records:
        words = record.expression.split()
        if not set(words) <= FILLERS | set(MEANINGS):
            continue
        annotated = [a for a in by_image[record.image_id] if "attributes" in a]
        things = [SimpleNamespace(**annotation["attributes"]) for annotation in annotated]
        judge = Judge(SimpleNamespace(things=things, hiding=set()))
        needed = [
            place
            for place, word in enumerate(words)
            if word in MEANINGS and refers_to(judge, words[:place] + words[place + 1 :]) is None
        ]
        one = refers_to(judge, words)
        if one is not None and len(needed) == 1:
            assert annotated[one]["segmentation"] == record.segmentation, record.describe()
            yield record, needed[0]


def refers_to(judge, words):
    """The only thing that some words describe, or None."""
    return judge.noun(Noun(**dict(MEANINGS[word] for word in words if word in MEANINGS))).the_one()


def rank_hinges(predictor, expressions):
    """How often the hinge ranks first: by importance, by attention, and by chance."""
    first = {"first": [], "most attended": [], "chance": []}
    for record, place in track(expressions, "asking"):
        (sentence,) = predictor.read([record.expression])
        outputs, words = explain_words(predictor, record.image(), sentence)
        first["first"].append(np.argmax([word.change for word in words]) == place)
        first["chance"].append(1 / len(words))
        if predictor.levels and outputs["word_attention"].shape[-1] == len(sentence.ids):
            first["most attended"].append(np.argmax(outputs["word_attention"].mean(0)) == place)
    shares = {name: float(np.mean(hits)) for name, hits in first.items() if hits}
    return {"expressions": len(expressions), **shares}


def measure_cost(options):
    """Timings of an explanation and of a prediction."""
    predictor = random_predictor(options)
    (sentence,) = draw_sentences(predictor.preprocessor.vocabulary, 1, options.length)
    explain, rng = Explainer(predictor), np.random.default_rng(1)

    def photo():
        return rng.integers(0, 256, (480, 640, 3)).astype("uint8")

    calls = {
        "prediction": lambda: predictor(photo(), sentence),
        "explanation": lambda: explain(photo(), [sentence]),
    }
    return measure.compare(calls, options.repeats)


def measure_all(options):
    """What the words of a model say, if there is one, and what an explanation costs."""
    results = {"timings": measure_cost(options)}
    if options.model:
        instances = json.loads((options.data_dir / "refcoco/instances.json").read_text())
        records = read_records(options.data_dir, splits=[options.split])[options.split]
        expressions = list(hinges(records, instances["annotations"]))
        if not expressions:
            raise SystemExit(f"{options.data_dir}, {options.split}: no expression hinges on a word")
        results["hinges"] = rank_hinges(Predictor.from_preset(options.model), expressions)
    return results


def targets(results):
    if "hinges" in results:
        yield "hinge_ranks_first", results["hinges"]["first"], ">=", 0.85
    yield "explanation_per_prediction", results["timings"][1]["ratio"], "<=", 2.0


if __name__ == "__main__":
    cli.main(Options, measure_all, targets)
