from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from spinecore import registry
from spinecore.registry import ModelSpec, PluginError, list_models, model_spec, plugins


def make_distribution(folder: Path, name: str, key: str, body: str) -> None:
    """A minimal installed distribution: one module and its entry point."""
    folder.mkdir(parents=True, exist_ok=True)
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(textwrap.dedent(body))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[spinecore.models]\n{key} = {module}:SPEC\n")


SPEC_BODY = """
    from spinecore.registry import ModelSpec
    SPEC = ModelSpec(api={api}, name="{name}", task="film", build="torch.nn:Identity", config="builtins:dict")
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.delenv("SPINECORE_PLUGINS", raising=False)
    registry.refresh()
    yield
    registry.refresh()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(str(folder))
    registry.refresh()


def test_our_plugin_is_listed_without_importing_torch() -> None:
    code = "import sys, spinecore; print(spinecore.list_models(), 'torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "r2mf_net" in out
    assert out.strip().endswith("False")


def test_another_package_adds_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_distribution(tmp_path, "other-spine", "other_net", SPEC_BODY.format(api=1, name="other_net"))
    install(monkeypatch, tmp_path)
    assert "other_net" in list_models()
    assert "other_net" in list_models(task="film")
    assert "other_net" not in list_models(task="mri")
    assert isinstance(model_spec("other_net"), ModelSpec)


def test_a_broken_plugin_is_listed_with_its_exception_and_raises_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_distribution(tmp_path, "broken-spine", "broken_net", "raise OSError('libmissing.so not found')")
    install(monkeypatch, tmp_path)
    broken = next(p for p in plugins() if p.name == "broken_net")
    assert not broken.available
    assert "libmissing.so" in (broken.error or "")
    assert "r2mf_net" in list_models()
    assert "broken_net" not in list_models()
    with pytest.raises(PluginError, match="libmissing") as caught:
        model_spec("broken_net")
    assert isinstance(caught.value.__cause__, OSError)


def test_two_packages_with_one_name_are_an_error_that_names_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_distribution(tmp_path / "a", "first-spine", "same_net", SPEC_BODY.format(api=1, name="same_net"))
    make_distribution(tmp_path / "b", "second-spine", "same_net", SPEC_BODY.format(api=1, name="same_net"))
    monkeypatch.syspath_prepend(str(tmp_path / "a"))
    install(monkeypatch, tmp_path / "b")
    with pytest.raises(PluginError, match=r"(?s)(first-spine.*second-spine|second-spine.*first-spine)"):
        model_spec("same_net")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (SPEC_BODY.format(api=99, name="odd_net"), "API 99"),
        (SPEC_BODY.format(api=1, name="differently"), "differently"),
        ("SPEC = {'name': 'odd_net'}", "not a ModelSpec"),
    ],
)
def test_a_spec_that_breaks_the_contract_says_how(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, words: str
) -> None:
    # A name of its own, since Python keeps modules that it has imported.
    make_distribution(tmp_path, f"odd-spine-{len(body)}", "odd_net", body)
    install(monkeypatch, tmp_path)
    with pytest.raises(PluginError, match=words):
        model_spec("odd_net")


def test_allow_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPINECORE_PLUGINS", "something_else")
    assert list_models() == []
    with pytest.raises(PluginError, match="SPINECORE_PLUGINS"):
        model_spec("r2mf_net")
    monkeypatch.setenv("SPINECORE_PLUGINS", "r2mf_net, other")
    assert list_models() == ["r2mf_net"]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(PluginError, match="r2mf_net"):
        model_spec("r2mf")
