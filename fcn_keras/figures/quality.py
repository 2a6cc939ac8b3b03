"""Validation scores by the seconds of training, of several programs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from fcn_keras.figures.style import BLUE, FAINT, GREEN, VERMILION, in_style


@in_style
def quality_figure(
    courses: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], target: float, title: str
) -> Figure:
    """Draws how scores rose with the time of training: a line for each training.

    Args:
        courses: what made trainings, at most three -> for each of its trainings the validations:
            `seconds` of training until then, and `mean_iu`, a fraction of 1.
        target: the mean IU that is waited for.
        title: of the figure.

    Example:

    >>> quality_figure({"ours": [[{"seconds": 60, "mean_iu": 0.6}]]}, 0.65, "CamVid")
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    axes.grid()
    for (name, trainings), color in zip(courses.items(), (VERMILION, BLUE, GREEN), strict=False):
        for number, points in enumerate(trainings):
            axes.plot(
                [point["seconds"] / 60 for point in points],
                [100 * point["mean_iu"] for point in points],
                color=color,
                linewidth=1.6,
                marker="o",
                markersize=3,
                label=None if number else name,
            )
    axes.axhline(100 * target, color=FAINT, linestyle="--", linewidth=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("minutes of training, without validating")
    axes.set_ylabel("mean IU on validation, %")
    axes.legend(frameon=False, loc="lower right")
    figure.suptitle(title)
    return figure
