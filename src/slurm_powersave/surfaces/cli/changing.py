"""What is common to all commands that change something: they stand in the history, and some take the lock.

Commands that themselves change servers or files run one at a time. Those that ask the engine for something
(resume, suspend, reboot, pause, continue) take no lock.
"""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slurm_powersave.surfaces.cli import render
from slurm_powersave.surfaces.cli.session import Session, session

if TYPE_CHECKING:
    from slurm_powersave.config.layout import Layout
    from slurm_powersave.config.settings import Cluster
    from slurm_powersave.ports.site import Site

Options = Mapping[str, Any]
Command = Callable[..., None]

WaitLock = Annotated[
    bool,
    typer.Option("--wait-lock", help="If another command that changes the cluster is running, wait for it."),
]
LockTimeout = Annotated[
    float | None,
    typer.Option("--lock-timeout", min=0, metavar="SECONDS", help="Wait at most so long, else exit code 3."),
]
_ABORT, _BACK = "abort", "back"


def acts(options: Options) -> bool:
    """Tell whether the options of a command let it change something."""
    return bool(options.get(_ABORT)) or not options.get("dry_run")


def changing(function: Command) -> Command:
    """Mark a command that asks the engine for a change, or notes something for it."""

    @functools.wraps(function)
    def run(ctx: typer.Context, **options: Any) -> None:
        with _history(ctx, options):
            function(ctx, **options)

    return run


def changing_alone(
    when: Callable[[Options], bool] = acts, *, may_lack_file: bool = False
) -> Callable[[Command], Command]:
    """Mark a command that itself changes servers or files, if `when` says so: one at a time.

    It gets the options --wait-lock and --lock-timeout. With `may_lack_file` there may be no cluster file yet:
    then there is no cluster that could be locked.
    """

    def mark(function: Command) -> Command:
        @functools.wraps(function)
        def run(ctx: typer.Context, **options: Any) -> None:
            waits, limit = options.pop("wait_lock"), options.pop("lock_timeout")
            with ExitStack() as held:
                layout = _layout(session(ctx), options, may_lack_file)
                if layout and when(options):
                    held.enter_context(_alone(layout, ctx, options, waits or limit is not None, limit))
                held.enter_context(_history(ctx, options))
                function(ctx, **options)

        run.__signature__ = _with_options(function)  # type: ignore[attr-defined]
        return run

    return mark


def _with_options(function: Command) -> inspect.Signature:
    """Add the two options in front of --json, which all commands have last."""
    found = inspect.signature(function, eval_str=True)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    *first, last = found.parameters.values()
    added = [
        inspect.Parameter("wait_lock", kind, default=False, annotation=WaitLock),
        inspect.Parameter("lock_timeout", kind, default=None, annotation=LockTimeout),
    ]
    return found.replace(parameters=[*first, *added, last])


def _cluster(current: Session, may_lack_file: bool) -> Cluster | None:
    from slurm_powersave.model.errors import ConfigError

    try:
        return current.cluster()
    except ConfigError:
        if may_lack_file:
            return None
        raise


def _site(current: Session) -> Site | None:
    return current.site() if _cluster(current, True) else None


def _layout(current: Session, options: Options, may_lack_file: bool) -> Layout | None:
    """Find the state directory; refuse a changed cluster_name or state_dir, also in a dry run.

    A restore looks at the backup's names, --abort at none, and --back leaves a file that may be wrong.
    """
    from slurm_powersave.commands import identity, previous_file

    if options.get(_BACK):
        return previous_file.layout_of(current.path())
    cluster = _cluster(current, may_lack_file)
    if cluster and not may_lack_file and not options.get(_ABORT):
        identity.refuse(current.site())
    return cluster.layout if cluster else None


@contextmanager
def _alone(
    layout: Layout, ctx: typer.Context, options: Options, waits: bool, limit: float | None
) -> Iterator[None]:
    from slurm_powersave.commands.command_lock import Patience, alone, end

    lease = session(ctx).command_lease(layout)
    if options.get(_ABORT):
        end(lease, _words(ctx)[0])
    with alone(layout, lease, typed(ctx), Patience(render.note, limit) if waits else None):
        yield


@contextmanager
def _history(ctx: typer.Context, options: Options) -> Iterator[None]:
    if not acts(options):
        yield
        return
    from slurm_powersave.commands.command_history import in_history

    with in_history(lambda: _site(session(ctx)), typed(ctx), render.note):
        yield


def typed(ctx: typer.Context) -> str:
    """Return what was typed, without the global options: the same command does the same again."""
    words = _words(ctx)
    for param in ctx.command.params:
        source = ctx.get_parameter_source(param.name or "")
        if source is None or source.name != "COMMANDLINE":
            continue
        value = ctx.params.get(param.name or "")
        values = list(value) if isinstance(value, list | tuple) else [value]
        if param.param_type_name == "argument":
            words += [shlex.quote(str(one)) for one in values]
        elif isinstance(value, bool):
            words.append(max(param.opts, key=len))
        else:
            words += [f"{max(param.opts, key=len)} {shlex.quote(str(one))}" for one in values]
    return " ".join(words)


def _words(ctx: typer.Context) -> list[str]:
    """Name the command, as `image build`."""
    names: list[str] = []
    place: Any = ctx
    while place.parent is not None:
        names.insert(0, str(place.info_name))
        place = place.parent
    return names
