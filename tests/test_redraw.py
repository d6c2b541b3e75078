"""The shipped figures are those that the shipped runs give."""

import numpy as np
import pytest
from PIL import Image

from fer_helpers import redraw
from fer_helpers.emotions import COURSE
from fer_helpers.runs import reference_runs

SHIPPED = COURSE / "figures" / "fer2013"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_FIGURES", str(folder))
        redraw.redraw(log=lambda _: None)
    return folder / "fer2013"


def test_every_model_with_a_shipped_run_has_its_figures(drawn):
    names = {path.stem for path in drawn.iterdir()}
    expected = {"fig09_baseline_layers", "fig12_final_layers"}
    for model, figures in (
            ("baseline", ["fig10_baseline_curves", "fig11_baseline_confusion",
                          "fig11_baseline_copies", "fig11_baseline_reliability"]),
            ("final", ["fig13_final_curves", "fig14_final_confusion", "fig13_final_loss_parts",
                       "fig13_final_against_report", "fig14_final_copies", "fig14_final_pairs",
                       "fig14_final_reliability", "differences_final_baseline"]),
            ("ablation", ["fig16_ablation_curves", "fig16_ablation_confusion",
                          "fig16_ablation_copies", "fig16_ablation_reliability",
                          "differences_final_ablation"])):
        if reference_runs(model):
            expected |= set(figures)
    assert names == expected


def test_the_shipped_figures_are_up_to_date(drawn):
    for path in drawn.iterdir():
        with Image.open(path) as new, Image.open(SHIPPED / path.name) as old:
            # Another machine may have another font, so not byte by byte.
            assert np.allclose(new.size, old.size, rtol=0.02), path.name
            small = [np.asarray(image.convert("L").resize((200, 100))).astype(int)
                     for image in (new, old)]
            assert abs(small[0] - small[1]).mean() < 4, path.name
