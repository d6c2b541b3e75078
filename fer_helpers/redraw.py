"""Redraw the result figures of FER-2013 from the files that come with the course."""

from fer_helpers import models
from fer_helpers.evaluation import (
    accuracy_by_copies,
    classification_report,
    confusion_matrix,
    most_confused,
    reliability,
)
from fer_helpers.plotting import (
    plot_bars,
    plot_confusion_and_report,
    plot_history,
    plot_intervals,
    plot_layer_table,
    plot_loss_parts,
    plot_reliability,
    save_figure,
)
from fer_helpers.report import differences, layer_comparison, printed_log
from fer_helpers.runs import known_copies, reference_runs

TITLES = {"baseline": "Baseline", "final": "Final model, 1024 filters",
          "ablation": "Ablation, 512 filters"}


def redraw(log=print) -> None:
    """Save every figure that needs no image of the dataset in ``figures/fer2013/``."""
    for name, figure in figures():
        log(save_figure(figure, name, "fer2013"))


def figures():
    """Yield names and figures; those of a model need a run that is shipped (its lowest seed)."""
    for model, number, build in (("baseline", "09", models.build_baseline),
                                 ("final", "12", models.build_final)):
        table = layer_comparison(models.layer_table(build()), model)
        yield (f"fig{number}_{model}_layers", plot_layer_table(
            table, f"{TITLES[model]}: Figure {int(number)} of the report, recomputed"))
    for model, curves, confusion in (("baseline", "fig10", "fig11"), ("final", "fig13", "fig14"),
                                     ("ablation", "fig16", "fig16")):
        runs = reference_runs(model)
        if not runs:
            continue
        run = runs[0]
        title = f"{TITLES[model]}, FER-2013, seed {run.settings['seed']}"
        yield f"{curves}_{model}_curves", plot_history(run.history, title, run.about["kept_epoch"])
        matrix = confusion_matrix(run.labels, run.predictions)
        yield (f"{confusion}_{model}_confusion", plot_confusion_and_report(
            matrix, classification_report(run.labels, run.predictions), title))
        yield (f"{confusion}_{model}_reliability",
               plot_reliability(reliability(run.probabilities, run.labels), title))
        known = {f"seed {run.settings['seed']}": accuracy_by_copies(
            run.labels, run.predictions, known_copies(run))
            for run in runs}
        yield (f"{confusion}_{model}_copies",
               plot_intervals(known, f"{TITLES[model]}: accuracy on the test images"))
        if model != "final":
            continue
        yield ("fig13_final_against_report", plot_history(
            run.history, title, run.about["kept_epoch"], behind=("report", printed_log())))
        yield "fig13_final_loss_parts", plot_loss_parts(run.history, title)
        yield "fig14_final_pairs", plot_bars(
            most_confused(matrix).head(8).to_frame(),
            f"{title}: images of one class taken for the other")
    for other in ("baseline", "ablation"):
        if reference_runs("final") and reference_runs(other):
            yield (f"differences_final_{other}", plot_intervals(
                differences("final", other),
                f"difference of accuracies: final minus {other}, or one seed minus another",
                column="difference", mark=0))
