"""`keras-cmsa`: the package from a terminal. Each command imports what it needs when it runs."""

import sys

import cyclopts

from keras_cmsa.cli.command_line import run

app = cyclopts.App(
    name="keras-cmsa",
    help="Find, in a photo, the thing that a sentence refers to.",
)

# The modules are imported when their command runs, so each line for `--help` stands here.
COMMANDS = {
    "segment": "Find what expressions refer to in an image, or do so for a whole table.",
    "evaluate": "Score a model on the splits of a data set.",
    "explain": "Draw what a model made of expressions on an image.",
    "demo": "Serve a page where one drops a photo and types sentences.",
    "serve-label-studio": "Serve a model to Label Studio, and collect its annotations to train on.",
    "export": "Write a model for TensorFlow Serving, ONNX or LiteRT.",
    "verify": "Check that a model, here or on a server, answers as when it was saved.",
    "download": "Fetch the public files: data sets, images, trained weights.",
    "convert": "Write the weights that CMSA's authors published as a preset.",
    "upload": "Upload a preset to Hugging Face's hub.",
    "info": "Say what is installed, and what a model is.",
    "prepare": "Check every image and mask of a data set, and say what is wrong.",
    "describe": "Make sentences about the masks of COCO's instances, to train on.",
    "synthesize": "Draw RefShapes, scenes with unambiguous expressions.",
}
for _name, _help in COMMANDS.items():
    _module = _name.replace("-", "_")
    app.command(f"keras_cmsa.cli.{_module}:{_module}", help=_help)
app.command("keras_cmsa.cli.train:app", name="train", help="Train a model by one of the recipes.")


def main(arguments=None):
    """Runs a command. A wrong input ends in one line and exit code 2, without a traceback.

    Args:
        arguments: list of `str`; `None` takes the process' own.
    """
    run(app, sys.argv[1:] if arguments is None else arguments, "keras-cmsa")


if __name__ == "__main__":
    main()
