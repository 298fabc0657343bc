"""The linear answer of the map is scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from spinecore.plugins.scoligait.config import ScoliGaitConfig
from spinecore.plugins.scoligait.fitting import FitOptions, class_weights, fit, fit_stems, probabilities
from spinecore.plugins.scoligait.network import ScoliGait
from spinecore.plugins.scoligait.samples import Clips, stack_clips


def clips(count: int = 60) -> Clips:
    """Curves whose mean rises with the class, of three classes of unequal size."""
    draw = np.random.default_rng(0)
    label = np.minimum(draw.integers(0, 4, count), 2)
    values = draw.normal(size=(count, 10, 4)).astype(np.float32)
    values[..., 1] += 0.5 * label[:, None]
    same = {
        "video": np.zeros((1, 1, 1, 1), dtype=np.uint8),
        "valid": np.ones(10, dtype=bool),
        "present": np.array([True, False, False]),
    }
    text = np.zeros((count, 1, 1), dtype=np.int64)
    return stack_clips([{"map": v, **same} for v in values], text, outcome=label.tolist())


CONFIG = ScoliGaitConfig(
    modalities=("map",),
    outcomes=3,
    frames=10,
    columns=4,
    width=16,
    depth=1,
    latents=2,
    experts=1.0,
    linear_columns=(1, 3),
    linear_share=0.05,
    modality_dropout=0.0,
)


def test_it_is_the_regression_of_scikit_learn_and_stays_fixed() -> None:
    data = clips()
    torch.manual_seed(0)
    model = ScoliGait(CONFIG)
    fit_stems(model, data, class_weights(data.outcome, 3))
    x = data.map.numpy()[..., [1, 3]].reshape(len(data), -1)
    theirs = LogisticRegression(C=0.05, class_weight="balanced", tol=1e-10, max_iter=2000)
    theirs.fit(StandardScaler().fit_transform(x), data.outcome.numpy())
    ours = model.linear(model.map.standard(data.map), data.valid).softmax(-1)
    np.testing.assert_allclose(
        ours.numpy(), theirs.predict_proba(StandardScaler().fit_transform(x)), atol=2e-4
    )
    fit(model, data, np.arange(len(data)), FitOptions(epochs=2, batch=16), seed=1)
    after = model.linear(model.map.standard(data.map), data.valid).softmax(-1)
    torch.testing.assert_close(after, ours)
    assert not torch.allclose(
        torch.from_numpy(probabilities(model, data, np.arange(len(data)))).float(), ours, atol=1e-3
    )


def test_frames_past_the_end_and_absent_maps_have_no_linear_answer() -> None:
    data = clips()
    model = ScoliGait(CONFIG).eval()
    fit_stems(model, data, class_weights(data.outcome, 3))
    valid = data.valid.clone()
    valid[:, 6:] = False
    present = torch.ones(len(data), 1, dtype=torch.bool)
    before = model(present, valid, data.map).logits
    changed = data.map.clone()
    changed[:, 6:] = 3.0
    torch.testing.assert_close(model(present, valid, changed).logits, before)


@pytest.mark.parametrize("changes", [{"experts": 0.0}, {"linear_columns": (4,)}, {"modalities": ("text",)}])
def test_wrong_columns_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="linear_columns is"):
        ScoliGaitConfig(**{**CONFIG.as_dict(), **changes})
