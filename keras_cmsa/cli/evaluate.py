"""`keras-cmsa evaluate`: the paper's numbers of a trained model."""

import contextlib
import json as json_module
import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.cli.options import DataDir, Dataset, Format, Model, OwnData, SplitOwner
from keras_cmsa.utils.files import check_folder, replaced
from keras_cmsa.utils.messages import check_at_least
from keras_cmsa.utils.silence import import_keras

METRICS = "metrics.json"


def evaluate(
    data_dir: DataDir,
    *,
    model: Model,
    dataset: Dataset = "refcoco",
    split_owner: SplitOwner = "unc",
    own: OwnData = OwnData(),  # frozen, so it can be shared  # noqa: B008
    split: tuple[str, ...] = (),
    profile: Literal["strict", "tf_phrasecut", "gres"] = "strict",
    crf: Literal["network", "original"] | None = None,
    limit: int | None = None,
    failures: int = 8,
    controls: bool = False,
    format: Format = None,
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/evaluation"),
    json: bool = False,
):
    """Score a model on the splits of a data set, at the size of the original images.

    Writes metrics.json, scores_<split>.csv with every expression's IoU, with --format
    <split>_coco.json or <split>_label_studio.json, and pictures:
    examples_<split>.png, failures_<split>.png, the worst (Fig. 6 of the paper), and for CMSA
    paper_<split>.png (Figs. 4 and 5).

    Parameters
    ----------
    split
        Splits to score, given once each; all but train if none is given.
    profile
        The rule from logits to masks; docs/evaluation.md. strict for your own comparisons,
        tf_phrasecut for the tables of CMSA, RMI and RRN, gres where sentences may fit nothing or
        several things.
    crf
        Score a second time after DenseCRF, at the network's size (as the authors) or the original.
    limit
        Score only so many expressions of each split, from the first on.
    failures
        How many of the worst to draw; 0 draws none.
    controls
        Also score what needs no sentence: words shuffled, the sentence of another object, no words,
        the largest and the centre object; docs/evaluation.md.
    output
        Folder of the results.
    json
        Print metrics.json instead of a table.
    """
    check_at_least(1, limit=limit)
    check_at_least(0, failures=failures)
    check_folder(output)
    import_keras()
    from keras_cmsa.data.sources import read_records
    from keras_cmsa.evaluation.report import print_controls, print_metrics
    from keras_cmsa.evaluation.scores import metrics_of, write_scores
    from keras_cmsa.inference.predictor import Predictor

    records = read_records(data_dir, dataset, split_owner, splits=split or None, **vars(own))
    splits = split or [name for name in records if name != "train" and records[name]]
    if not splits:
        raise ValueError(
            f"wanted a split that is held out from training. Received: {data_dir} with "
            f"{' and '.join(records) or 'none'} alone. Give `split` to score that, or add a val split"
        )
    predictor = Predictor.from_preset(model)
    records = {name: records[name][:limit] for name in splits}
    kept = {name: Kept(data_dir) for name in splits} if format else {}
    scores, summaries = score(predictor, records, profile, crf, controls, kept, progress=not json)
    output.mkdir(parents=True, exist_ok=True)
    metrics = metrics_of(scores, profile, predictor.config["starting_weights"])
    if controls:
        metrics["controls"] = summaries
    write_scores(output, scores)
    with replaced(output / METRICS) as file:
        json_module.dump(metrics, file, indent=1)
    for name, split_kept in kept.items():
        split_kept.write(output, name, format, model)
    draw(output, predictor, scores, profile, crf, failures)
    if json:
        print(json_module.dumps(metrics))
    else:
        print_metrics(metrics, output / METRICS)
        if controls:
            print_controls(summaries)


def score(predictor, records, profile, crf, controls, questions, progress):
    """`{split: [Score, ...]}`, with DenseCRF `"<split>+crf"` beside each; `{split: controls}`.

    `questions` has one more of `ask` for some of the splits, such as its `Kept`.
    """
    from keras_cmsa.evaluation.controls import Controls
    from keras_cmsa.evaluation.evaluate import evaluate as score_split
    from keras_cmsa.evaluation.refined import Refined

    scores, summaries = {}, {}
    for name, split in records.items():
        title = f"scoring {name}" if progress else None
        control = Controls(predictor.preprocessor.vocabulary)
        ask = [control] if controls else []
        ask += [questions[name]] if name in questions else []
        with Refined(crf) if crf else contextlib.nullcontext() as refined:
            ask += [refined] if crf else []
            scores[name] = score_split(predictor, split, ask, profile, title)
        if crf:
            scores[f"{name}+crf"] = refined.scores
        summaries[name] = control.summary(profile)
    return scores, summaries


def draw(output, predictor, scores, profile, crf, failures):
    """The figures of each split, with the masks that were scored."""
    from keras_cmsa.evaluation.crf import refine
    from keras_cmsa.explain.explanations import Explainer
    from keras_cmsa.explain.figures import write_figures
    from keras_cmsa.inference.masks import MaskRule

    explain = Explainer(predictor)
    for name, split_scores in scores.items():
        rule = MaskRule(profile, refine, crf) if name.endswith("+crf") else MaskRule(profile)
        write_figures(output, name, predictor, explain, split_scores, rule, failures)


class Kept:
    """Keeps the masks of a split for a file; one of `ask` of the evaluation.

    Args:
        data_dir: of the data set; the file names images relative to it.
    """

    def __init__(self, data_dir):
        self.root = data_dir.parent if data_dir.is_file() else data_dir
        self.by_row = {}

    def sentences(self, records, words):
        """Nothing else is asked."""
        return words[:0]

    def take(self, photo, answers):
        from keras_cmsa.data.masks import run_lengths
        from keras_cmsa.data.writers import Answer
        from keras_cmsa.inference.prediction import score_of
        from keras_cmsa.presets.files import fits

        predictor = photo.predictor
        for row, record, answer in zip(photo.rows, photo.records, photo.answers):
            mask = answer["mask"] & fits(answer.get("exists", 1), predictor.threshold)
            logits = answer["logits"][..., 0]
            score = score_of(mask, predictor.preprocessor.probabilities(logits, mask.shape))
            image = Path(os.path.relpath(record.image_path, self.root)).as_posix()
            self.by_row[row] = Answer(image, record.raw, run_lengths(mask), score)

    def write(self, folder, split, format, model):
        """Writes the masks in a format, in the order of the records."""
        from keras_cmsa.data.writers import FORMATS
        from keras_cmsa.presets.files import name_of, opened

        name, write = FORMATS[format]
        answers = [self.by_row[row] for row in sorted(self.by_row)]
        write(folder / f"{split}_{name}", answers, name_of(opened(model)[0]))
