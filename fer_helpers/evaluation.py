"""Numbers from predictions: they take arrays and return frames, and know no dataset or model."""

import numpy as np
import pandas as pd
from sklearn import metrics

from fer_helpers.emotions import EMOTIONS

_LABELS = range(len(EMOTIONS))


def accuracy_and_loss(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return the accuracy (0 to 1) and the mean cross-entropy (nats, without any penalty).

    Parameters
    ----------
    probabilities
        float [n, 6], rows sum to 1.
    labels
        int [n], true classes.
    """
    return {
        "accuracy": metrics.accuracy_score(labels, probabilities.argmax(axis=1)),
        # float64: scikit-learn checks that the rows sum to 1 and clips by the type's precision.
        "cross_entropy": metrics.log_loss(
            labels, _normalised(probabilities), labels=list(_LABELS)
        ),
    }


def _normalised(probabilities: np.ndarray) -> np.ndarray:
    wide = probabilities.astype(np.float64)
    return wide / wide.sum(axis=1, keepdims=True)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """Count images by true class (rows) and predicted class (columns), as in Figures 11 and 14."""
    counts = metrics.confusion_matrix(labels, predictions, labels=list(_LABELS))
    return pd.DataFrame(
        counts,
        index=pd.Index(EMOTIONS, name="true"),
        columns=pd.Index(EMOTIONS, name="predicted"),
    )


def classification_report(labels: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """Return precision, recall, F1 (0 to 1) and support per class, with two means below.

    A class that is never predicted has precision 0.
    """
    report = metrics.classification_report(
        labels, predictions, labels=list(_LABELS), target_names=EMOTIONS, output_dict=True,
        zero_division=0,
    )
    frame = pd.DataFrame(report).T.drop("accuracy", errors="ignore")
    return frame.astype({"support": int})


def sample_of_predictions(probabilities: np.ndarray, labels: np.ndarray, count: int,
                          seed: int) -> pd.DataFrame:
    """Draw ``count`` test images and list what was predicted for them (Figure 15).

    Returns
    -------
    DataFrame
        Indexed by position in the test set; ``true``, ``predicted``, ``probability`` of the
        predicted class, ``correct``.
    """
    positions = np.random.RandomState(seed).permutation(len(labels))[:count]
    predicted = probabilities[positions].argmax(axis=1)
    return pd.DataFrame({
        "true": [EMOTIONS[i] for i in labels[positions]],
        "predicted": [EMOTIONS[i] for i in predicted],
        "probability": probabilities[positions].max(axis=1),
        "correct": predicted == labels[positions],
    }, index=pd.Index(positions, name="position"))
