"""Names of classes, and paths that count from the course's folder."""

from fer_helpers import course


def test_names_and_paths(monkeypatch, tmp_path):
    assert course.EMOTIONS == ("happy", "sad", "fear", "surprise", "neutral", "angry")  # Figure 1
    assert (course.LEFT_OUT[0], course.SPLITS) == ("disgust", ("train", "test"))
    assert course.IMAGE_SIZE == 48
    assert {*course.ALSO_CALLED} <= {*course.EMOTIONS, *course.LEFT_OUT, *course.SPLITS}
    assert [course.ALSO_CALLED[name][-1] for name in (
        "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")] == [*"0123456"]
    assert {"val", "valid", "validation", "publictest"} < {*course.ALSO_CALLED["test"]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for chosen, path in (("", course.COURSE / "usual"), ("mine", course.COURSE / "mine"),
                         ("~/mine", tmp_path / "mine"), (str(tmp_path), tmp_path)):
        monkeypatch.setenv("FER_X", chosen)
        assert course.course_path("FER_X", "usual") == path
    assert (course.COURSE / "pyproject.toml").is_file() and course.REFERENCE.is_dir()
