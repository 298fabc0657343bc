"""``spinecore predict``: predictions of a multimodal model, and which modality drove each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    model: Annotated[str, typer.Argument(help="Registered multimodal model, for example dsrsd_net.")],
    weights: Annotated[Path, typer.Option(help="Folder of a training run, or its weights file.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="Folder of the results.")],
    table: Annotated[Path | None, typer.Option(help="CSV with the columns of the training table.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of the set the model was trained on.")] = None,
    by: Annotated[str | None, typer.Option(help="Column of the table to aggregate by.")] = None,
) -> None:
    """Predict samples; writes OUT/predictions.csv, OUT/groups.csv and OUT/index.html.

    Beside each prediction: the gates of the modalities, what leaving one out changes, and the shared and
    private part.
    """
    from rich.console import Console

    from spinecore.io.errors import UsageError
    from spinecore.registry import model_spec
    from spinecore.weights import load_weights, read_card, resolve_weights

    spec = model_spec(model)
    if spec.task != "multimodal":
        raise UsageError(f"{model}: is a model of task {spec.task!r}; `spinecore measure` reads films")
    path = resolve_weights(spec, weights)
    reader = spec.load("reader")(load_weights(spec, path).eval(), read_card(path))
    count = reader.predict(out, table=table, data=data, by=by)
    Console().print(f"{out / 'index.html'}: {count} samples", highlight=False, soft_wrap=True)
