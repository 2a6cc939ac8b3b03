"""The command `train`."""

from argparse import Namespace

from fcn_keras.cli.arguments import positive
from fcn_keras.cli.command import Arguments, Command
from fcn_keras.cli.settings import HELP, setting_arguments
from fcn_keras.errors import UserError
from fcn_keras.recipes.common.resolving import RECIPES, resolve
from fcn_keras.training.settings import CLUSTERS

ARGUMENTS: Arguments = {
    "--recipe": dict(
        metavar="NAME",
        help=f"settings to start from: {', '.join(RECIPES)} (default: the data set's own)",
    ),
    **setting_arguments(),
    "--run-dir": dict(metavar="DIR", help="where to write (default: runs/DATASET-VARIANT)"),
    "--devices": dict(
        metavar="LIST", help="gpu:0,gpu:1 or cpu:2 (default: all GPUs, else one CPU)"
    ),
    "--fresh": dict(action="store_true", help="delete an existing run first"),
    "--cluster": dict(
        choices=CLUSTERS,
        help="train on several machines, found by TF_CONFIG or Slurm (default: by TF_CONFIG if it "
        "is set)",
    ),
    "--backup-steps": dict(
        type=positive,
        metavar="N",
        help="steps from one backup to the next within an epoch (default: ten minutes; on several "
        "machines at the end of epochs alone)",
    ),
    "--find-learning-rate": dict(
        action="store_true",
        help="train some steps with a rate that rises, suggest one, draw the losses; nothing else",
    ),
    "--callbacks": dict(
        metavar="MODULE:FUNCTION", help="function that returns Keras callbacks to call too"
    ),
}


def run(args: Namespace) -> None:
    given = {name: value for name, value in vars(args).items() if name in HELP}
    settings = resolve(args.recipe, **given)
    if args.find_learning_rate:
        for name in ("fresh", "cluster", "backup_steps", "callbacks"):
            if getattr(args, name):
                option = name.replace("_", "-")
                raise UserError(f"--{option}: is not for --find-learning-rate, which keeps no run.")
        from fcn_keras.training.find_rate import find_learning_rate

        args.command = args.command._replace(stopped="stopped; nothing is kept")
        find_learning_rate(settings, args.run_dir, args.devices)
        return
    from fcn_keras.training.own_callbacks import load_callbacks, told_as_own
    from fcn_keras.training.train import train

    callbacks = load_callbacks(args.callbacks) if args.callbacks else []
    with told_as_own(callbacks):
        train(
            settings,
            args.run_dir,
            args.devices,
            args.fresh,
            args.cluster,
            args.backup_steps,
            callbacks,
        )


COMMAND = Command(
    run,
    ARGUMENTS,
    stopped="stopped; the same command goes on from the last backup",
    keeps_memory=True,
)
