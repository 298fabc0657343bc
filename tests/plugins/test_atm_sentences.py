"""Prompts read by a transformers model from a local folder."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from spinecore.plugins.atm_net.build import BackboneNet, build
from spinecore.plugins.atm_net.config import ATMConfig
from spinecore.plugins.atm_net.errors import SliceError
from spinecore.plugins.atm_net.example import SMALL
from spinecore.plugins.atm_net.network import ATMNet
from spinecore.plugins.atm_net.prompted import PromptedNet
from spinecore.plugins.atm_net.prompts import generic
from spinecore.plugins.atm_net.segmenter import build_reader
from spinecore.plugins.atm_net.task import build_task
from spinecore.plugins.atm_net.text import prompt_encoder, tokens
from spinecore.registry import PluginError
from spinecore.spine.phantom.lumbar import lumbar_phantom

GREY = np.array([0, 76, 29, 150], np.uint8)


def make(config: ATMConfig) -> PromptedNet:
    torch.manual_seed(0)
    return build(config).eval()


def open_gates(network: PromptedNet) -> None:
    with torch.no_grad():
        for fuse in network.fusion:
            fuse.gate.bias.fill_(2.0)


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    folder = tmp_path / "slices"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for patient in range(5):
        phantom = lumbar_phantom(patient, 96, 64, vertebrae=5)
        name = f"{patient}_slice0.png"
        Image.fromarray((phantom.pixels * 255).astype(np.uint8)).save(folder / "images" / name)
        Image.fromarray(GREY[phantom.mask]).save(folder / "masks" / name)
    return folder


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    """A tiny BERT with random weights, saved as any transformers model is."""
    import transformers

    words = sorted({word for sentence in generic() for word in sentence.split()} | {"width", "no", "showing"})
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    torch.manual_seed(0)
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(words) + 5,
            hidden_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
    )
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, safe_serialization=True)
    return folder


def test_a_transformers_model_reads_the_prompts(
    sentences: Path, slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(SMALL, sentence_encoder=str(sentences), sentence_width=12)
    encode = prompt_encoder(config)
    vectors = encode(generic())
    assert vectors.shape == (4, 12)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4), atol=1e-5)
    assert not torch.allclose(vectors[1], vectors[2], atol=1e-3)
    assert torch.equal(encode([generic()[2]])[0], vectors[2])
    task = build_task(slices, config=dataclasses.asdict(config), batch=2)
    network = task.build()
    assert torch.equal(network.generic, vectors)
    loss, _ = task.loss(network, 0)
    loss.backward()
    assert network.text[0].weight.grad is not None
    with pytest.raises(SliceError, match="set it to 12"):
        prompt_encoder(dataclasses.replace(config, sentence_width=768))
    # Weights hold the generic prompts: they need no sentence encoder any more.
    state = network.state_dict()
    gone = dataclasses.replace(config, sentence_encoder=str(tmp_path / "gone"))
    other = build(gone)
    other.load_state_dict(state)
    pixels = lumbar_phantom(1, 64, 64, vertebrae=4).pixels
    p = build_reader(other).probabilities(pixels)
    assert np.allclose(p, build_reader(network).probabilities(pixels), atol=1e-6)
    with pytest.raises(PluginError, match="no such folder"):
        build_reader(other, prompts="predicted")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PluginError, match=r"spinecore-torch\[text\]"):
        prompt_encoder(config)


def test_sentence_vectors_run_prepared_in_slices(sentences: Path) -> None:
    config = dataclasses.replace(SMALL, sentence_encoder=str(sentences), sentence_width=12)
    network = make(config)
    network.generic.copy_(prompt_encoder(config)(generic()))
    open_gates(network)
    assert isinstance(network, ATMNet)
    x = torch.randn(2, 1, 64, 64)
    told = torch.randn(2, 4, 12)
    for prompts in (None, told):
        slow = network(x, prompts).logits.detach()
        with torch.no_grad():
            assert torch.allclose(network(x, prompts).logits, slow, atol=2e-5)
    assert not isinstance(network, BackboneNet)
    with pytest.raises(ValueError, match="prompts have shape"):
        network(x, tokens(generic()).expand(2, -1, -1))
