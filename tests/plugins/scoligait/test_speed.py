"""Steps that `spinecore bench` times: the real ones, on what the network gives them."""

from __future__ import annotations

import torch

from spinecore.bench.measure import QUICK
from spinecore.bench.stages import stage_rows, timed_models
from spinecore.plugins.scoligait.example import example_inputs
from spinecore.plugins.scoligait.network import ScoliGait
from spinecore.plugins.scoligait.speed import given


def test_rows_hold_limits_and_the_share_of_the_pooling() -> None:
    assert "scoligait" in timed_models()
    rows = {row["stage"]: row for row in stage_rows("scoligait", QUICK)}
    assert rows["knowledge map, 96 frames"]["limit"] == 0.020
    network, pooling = rows["network, map to score"], rows["latent pooling"]
    assert network["limit"] == 0.050
    assert pooling["part_of"] == network["stage"]
    assert pooling["share"] == pooling["seconds"] / network["seconds"]
    assert all(row["seconds"] > 0 for row in rows.values())


def test_the_pooling_is_timed_on_the_tokens_of_the_network() -> None:
    config, inputs = example_inputs()
    model = ScoliGait(config).eval()
    tokens, keep, bias = given(model, model.fusion.get_submodule("pool"), inputs)
    with torch.no_grad():
        encoded, keeps = model.tokens(inputs[1], model.named(inputs[2:]))
        torch.testing.assert_close(tokens, torch.cat(encoded, 1))
    present = torch.cat([k & inputs[0][:, i, None] for i, k in enumerate(keeps)], 1)
    assert torch.equal(keep, present)
    assert bias.shape == (2, config.latents, tokens.shape[1])
    assert not model.fusion.get_submodule("pool")._forward_pre_hooks
