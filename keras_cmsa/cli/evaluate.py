"""`keras-cmsa evaluate`: the paper's numbers of a trained model."""

import json as json_module
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from keras_cmsa.cli.options import DataDir, Dataset, Model, OwnData, SplitOwner
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
    own: OwnData = OwnData(),  # noqa: B008
    split: tuple[str, ...] = (),
    profile: Literal["strict", "tf_phrasecut", "gres"] = "strict",
    crf: Literal["network", "original"] | None = None,
    limit: int | None = None,
    failures: int = 8,
    controls: bool = False,
    output: Annotated[Path, Parameter(alias="-o")] = Path("runs/evaluation"),
    json: bool = False,
):
    """Score a model on the splits of a data set, at the size of the original images.

    Writes metrics.json, scores_<split>.csv with every expression's IoU, and pictures:
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

    records = read_records(data_dir, dataset, split_owner, **vars(own))
    splits = list(split) or [name for name in records if name != "train"]
    if missing := set(splits) - set(records):
        raise ValueError(f"{data_dir} has the splits {sorted(records)}, not {sorted(missing)}")
    predictor = Predictor.from_preset(model)
    records = {name: records[name][:limit] for name in splits}
    scores, summaries = score(predictor, records, profile, crf, controls, progress=not json)
    output.mkdir(parents=True, exist_ok=True)
    metrics = metrics_of(scores, profile, predictor.config["starting_weights"])
    if controls:
        metrics["controls"] = summaries
    write_scores(output, scores)
    with replaced(output / METRICS) as file:
        json_module.dump(metrics, file, indent=1)
    draw(output, predictor, scores, profile, crf, failures)
    if json:
        print(json_module.dumps(metrics))
    else:
        print_metrics(metrics, output / METRICS)
        if controls:
            print_controls(summaries)


def score(predictor, records, profile, crf, controls, progress):
    """`{split: [Score, ...]}`, with DenseCRF `"<split>+crf"` beside each; `{split: controls}`."""
    from keras_cmsa.evaluation.controls import Controls
    from keras_cmsa.evaluation.evaluate import evaluate as score_split
    from keras_cmsa.evaluation.refined import Refined

    scores, summaries = {}, {}
    for name, split in records.items():
        title = f"scoring {name}" if progress else None
        control = Controls(predictor.preprocessor.vocabulary)
        ask = [control] if controls else []
        if crf:
            with Refined(crf) as refined:
                scores[name] = score_split(predictor, split, [*ask, refined], profile, title)
            scores[f"{name}+crf"] = refined.scores
        else:
            scores[name] = score_split(predictor, split, ask, profile, title)
        summaries[name] = control.summary(profile)
    return scores, summaries


def draw(output, predictor, scores, profile, crf, failures):
    """The figures of each split, with the masks that were scored."""
    from keras_cmsa.evaluation.crf import refine
    from keras_cmsa.explain.figures import write_figures
    from keras_cmsa.inference.masks import MaskRule

    for name, split_scores in scores.items():
        rule = MaskRule(profile, refine, crf) if name.endswith("+crf") else MaskRule(profile)
        write_figures(output, name, predictor, split_scores, rule, failures)
