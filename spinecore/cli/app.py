"""The command line: its commands, and errors as one line with a remedy instead of a traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any

import typer

from spinecore.cli import (
    bench,
    demo,
    doctor,
    evaluate,
    explain,
    info,
    measure,
    models,
    predict,
    screen,
    segment,
    selfcheck,
    study,
    train,
)
from spinecore.io.errors import FilmError, UsageError
from spinecore.registry import PluginError
from spinecore.weights import WeightsError

app = typer.Typer(
    name="spinecore",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Spine radiographs in, measured angles and a report out. A measuring aid, not a diagnosis.",
)
app.command("measure")(measure.measure)
app.command("segment")(segment.segment)
app.command("demo")(demo.demo)
app.command("selfcheck")(selfcheck.selfcheck)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("screen")(screen.screen)
app.command("study")(study.study)
app.command("info")(info.info)
app.command("doctor")(doctor.doctor)
app.command("models")(models.models)
app.command("explain")(explain.explain)
app.command("bench")(bench.bench)

# Typer carries its own copy of click from some version on: take the class it really raises.
_CLICK_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def _version(show: bool) -> None:
    if show:
        from spinecore.cli.environment import own_version

        typer.echo(f"spinecore-torch {own_version()}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of all commands."""


def main() -> None:
    """Entry point of the ``spinecore`` command. ``SPINECORE_DEBUG=1`` shows tracebacks."""
    signal.signal(signal.SIGTERM, _interrupt)
    if os.environ.get("SPINECORE_DEBUG"):
        app()
        return
    sys.exit(_run())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """A polite kill ends a run like Ctrl-C: what is done is kept and the tables are written."""
    raise KeyboardInterrupt


def _run() -> int:
    try:
        if "" in sys.argv[1:]:  # as a path it would mean the folder one happens to be in
            raise UsageError("one of the arguments is empty; is a shell variable unset?")
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except _CLICK_ERROR as error:
        error.show()
        return int(error.exit_code)
    except (UsageError, PluginError, WeightsError) as error:
        return _fail(str(error), EXIT_USAGE)
    except FilmError as error:
        return _fail(str(error), EXIT_ERROR)
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_ERROR
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "; make room and run it again, `measure` and `segment` with --resume" if full else ""
        return _fail(f"{where}{error.strerror or error}{remedy}", EXIT_ERROR)
    except Exception as error:  # noqa: BLE001 - the last resort: one line, and how to see more
        return _fail(
            f"unexpected {type(error).__name__}: {error} (SPINECORE_DEBUG=1 shows where)", EXIT_ERROR
        )


def _fail(message: str, code: int) -> int:
    from rich.console import Console

    from spinecore.cli.terminal import shown

    text = "\n".join(shown(line) for line in message.splitlines())
    Console(stderr=True).print(f"[bold red]error:[/] {text}", highlight=False, soft_wrap=True)
    return code
