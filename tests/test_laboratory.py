"""The face laboratory: it draws as the fixture does, and says what the small network answers."""

import random
import re
import time

import lesson
import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawings import THREE_FACES

from experiments import laboratory
from experiments.draw_fixture import FEATURES, draw_look
from experiments.train_small import build_small
from fer_helpers.course import COURSE, EMOTIONS


@pytest.fixture(scope="module")
def network():
    small = build_small()
    small.load_weights(COURSE / "data" / "small.keras")
    return small


def answers(network, *faces):
    return [EMOTIONS[i] for i in laboratory.ask(network, np.stack(faces)).argmax(axis=1)]


def test_a_face_is_drawn_as_the_fixture_draws_it():
    look = {"brow": 1, "inner": 3, "eye": 1.4, "corners": -3.5, "open": 0, "wide": 5.5}
    drawn = laboratory.draw("sad", person=3, brow=1)
    assert (drawn[..., 0] == np.asarray(draw_look(look, random.Random(3)))).all()
    assert (drawn.shape, drawn.dtype) == ((48, 48, 1), np.dtype("uint8"))
    assert (laboratory.draw("happy", 0, 3) == laboratory.draw("angry", 0, 3)).all()


def test_the_small_network_knows_strong_faces_and_brows_turn_sad_into_angry(network):
    strong = [emotion for emotion in EMOTIONS if emotion != "neutral"]
    assert answers(network, *(laboratory.draw(emotion, person=3) for emotion in strong)) == strong
    assert answers(network, laboratory.draw("sad", person=2, inner=-5)) == ["angry"]


def test_the_slides_say_what_the_network_answers(network):
    said = {step["title"]: step.get("then", step["notes"]) for step in lesson.lesson()["step"]}
    words = ", ".join(f"{name} {word}" for name, word in zip(
        THREE_FACES, answers(network, *THREE_FACES.values()), strict=True))
    assert f"The network: {words}." in said["Exercise: three faces"]
    torn = sorted(laboratory.ask(network, THREE_FACES["A"][None])[0])
    assert f"(sad {torn[-1]:.0%}, angry {torn[-2]:.0%})".replace("%", " %") in said[
        "Your turn: the face laboratory"]
    assert answers(network, laboratory.draw("neutral", person=2), laboratory.draw(
        "sad", person=2, inner=-3)) == ["angry", "angry"]


def test_what_spoils_a_picture_does_only_that():
    face = laboratory.draw()
    assert (laboratory.spoil(face) == face).all()
    assert laboratory.spoil(face, blur=3).std() < 0.9 * face.std()
    assert laboratory.spoil(face, light=200).min() >= 200
    turned = laboratory.spoil(laboratory.spoil(face, turn=90), turn=-90)
    assert abs(turned.astype(int) - face).mean() < 10


def test_each_square_covers_another_part():
    face = laboratory.draw()
    first, *others = laboratory.covered(face)
    assert (first == face).all() and len(others) == 36
    changed = np.array([other != face for other in others])
    assert changed.any(axis=0).mean() > 0.95, "together they cover the face"
    assert changed.any(axis=(1, 2, 3)).all() and changed.mean(axis=(1, 2, 3)).max() < 0.1


def test_it_looks_at_the_mouth_of_a_smile(network):
    figure = laboratory.look_into(network, laboratory.draw("happy", 0.4, person=3))
    falls = figure.axes[2].images[1].get_array()
    row = falls.argmax() // falls.shape[1]
    assert row >= 3, "in the lower half"
    assert figure.axes[1].get_title().startswith("happy")
    plt.close(figure)


def test_every_slider_changes_the_picture_and_fast(network, plain_figure, monkeypatch):
    seen, took, draw = [], [], laboratory.look_into

    def look_into(network, face):
        plain = plain_figure()
        started = time.process_time()
        draw(network, face).canvas.draw()
        took.append((time.process_time() - started) / plain)
        seen.append(face)
        plt.close("all")

    monkeypatch.setattr(laboratory, "look_into", look_into)
    labels, below = laboratory.sliders(network).children
    tabs, _ = below.children
    assert set(re.findall("<i>(.+?)</i>", labels.value)) == set(FEATURES["neutral"])
    for tab in tabs.children:
        for box in tab.children:
            before, start = seen[-1], box.value
            box.value = "fear" if box.description == "emotion" else (
                box.min if box.value == box.max else box.max)
            assert (seen[-1] != before).any(), box.description
            box.value = start
    assert len(seen) == 1 + 2 * 12
    assert min(took) < 2


def test_the_network_answers_only_after_the_class(network):
    faces = {"A": laboratory.draw("happy"), "B": laboratory.draw("sad")}
    table = laboratory.agreement(network, faces, {"A": [], "B": []})
    assert table.to_dict("list") == {"class": ["vote first"] * 2}
    votes = {"A": ["sad"], "B": ["fear", "sad", "sad"]}
    table = laboratory.agreement(network, faces, votes)
    assert table.loc["B", ["class", "of the class", "network", "agree"]].tolist() == [
        "sad", "67%", "sad", "yes"]
    assert table.loc["A", ["network", "agree"]].tolist() == ["happy", "no"]
