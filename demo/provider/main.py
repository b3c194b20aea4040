"""The provider's process: main.py PACKAGE CERTIFICATE SITE-PACKAGES...

PACKAGE is the directory of the provider's Python package; its module `serve` has `servicer(terraform)`.
Started through `launch.py`, with `-I -S`: no site, no .pth files, since Terraform starts a provider
up to three times for each of its commands and waits for it. What tf's own runner does differently:
- it has 10 workers, so an eleventh create would wait: 64;
- its StopProvider handler stops the server at once, and running creates would never reach the
  state: StopProvider does nothing here, and INT and TERM neither (a terminal sends INT to
  everybody); Terraform asks us to leave by Shutdown when all calls have returned;
- after a SIGKILL of Terraform it lives for ever: we watch the parent, and leave when no create is
  under way (what is made then is adopted by the next apply);
- it imports cryptography to look at a cached certificate: ours is made by `mirror`;
- imports take most of a start: what grpc and protobuf import and this process never uses is left out;
- a killed run leaves its socket behind: ours are named by pid, and swept.
"""

import gc
import importlib
import json
import os
import select
import signal
import stat
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

WORKERS = 64
UNUSED = ("asyncio", "grpc.aio", "google.protobuf.internal.python_message")
"""What grpc imports for asyncio, and protobuf for use without its C extension: 90 of 200 ms."""
ALL_MODULES = "SLURM_POWERSAVE_PROVIDER_ALL_MODULES"
"""Environment variable that leaves nothing out."""
FIRST_CALL = 60.0
"""Seconds without any call after which there is no Terraform: it was killed before we could look at it."""
LAST_CALL = 600.0
"""Seconds that an orphaned provider waits for the creates under way."""


def private_path(user: int) -> str:
    """Name a user's directory for sockets: short, because a socket's path has 108 bytes at most (unix(7)).

    Only root can make one in /run. Another user's is looked at before it is used: anybody may have made it.
    """
    return "/run/slurm-powersave-provider" if user == 0 else f"/tmp/slurm-powersave-provider-{user}"


def private_directory() -> Path:
    """Return a directory for sockets that only we can enter."""
    directory = Path(private_path(os.getuid()))
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        sys.exit(f"{directory} must be a directory of this user with mode 0700, and no link: remove it")
    return directory


def socket_path() -> Path:
    """Return a path for our socket, and sweep those of the dead."""
    directory = private_directory()
    for path in directory.iterdir():
        if path.stem.isdigit() and not Path("/proc", path.stem).exists():
            path.unlink(missing_ok=True)
    return directory / f"{os.getpid()}.sock"


def find_modules() -> None:
    """Set sys.path from our arguments, and leave out what takes long and is not used."""
    here, package = Path(__file__).resolve().parent, Path(sys.argv[1])
    sys.path[:0] = [str(package.parent), str(here), str(here.parent)]
    sys.path += sys.argv[3:]
    if ALL_MODULES not in os.environ and importlib.import_module(package.name).SLIM:
        sys.modules.update((name, types.ModuleType(name)) for name in UNUSED)


class Calls:
    """An interceptor of grpc that notes whether anybody has called."""

    def __init__(self) -> None:
        self.any = threading.Event()

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Note the call and let it through."""
        self.any.set()
        return continuation(details)


def import_all() -> None:
    """Import what `start` wants, without starting anything: no thread, so that one may fork after it."""
    import grpc  # noqa: F401
    from tf.gen import grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc  # noqa: F401

    package = Path(sys.argv[1]).name
    for name in importlib.import_module(package).WARM:
        importlib.import_module(name)


def start(done: threading.Event, calls: Calls, path: Path, terraform: int) -> tuple[Any, Any]:
    """Start the server on a socket; return it and the servicer. Shutdown sets `done`."""
    import grpc
    from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2_grpc

    class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):
        def Shutdown(self, request: Any, context: Any) -> Any:
            done.set()
            return grpc_controller_pb2.Empty()

    class Stdio(grpc_stdio_pb2_grpc.GRPCStdioServicer):
        def StreamStdio(self, request: Any, context: Any) -> Any:
            return iter(())

    servicer = importlib.import_module(f"{Path(sys.argv[1]).name}.serve").servicer(terraform)
    server = grpc.server(ThreadPoolExecutor(WORKERS), interceptors=[calls])
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(servicer, server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Stdio(), server)
    certificate = json.loads(Path(sys.argv[2]).read_text())
    pair = (certificate["key"].encode(), certificate["certificate"].encode())
    server.add_secure_port(f"unix://{path}", grpc.ssl_server_credentials([pair]))
    server.start()
    print(f"1|6|unix|{path}|grpc|{certificate['der'].rstrip('=')}", flush=True)
    return server, servicer


def serve(terraform: int, caller: Any = None) -> NoReturn:
    """Serve until Terraform says Shutdown or is gone.

    `terraform` is its pid; `caller` a socket whose end means the same as Terraform's.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler and not SIG_IGN: the guests that we start would inherit that.
        signal.signal(number, lambda *_: None)
    done, calls = threading.Event(), Calls()
    path = socket_path()
    server, servicer = start(done, calls, path, terraform)

    def watch() -> None:
        watched = select.poll()
        try:
            watched.register(os.pidfd_open(terraform), select.POLLIN)
            if caller is not None:
                watched.register(caller, select.POLLIN)
            if not watched.poll(FIRST_CALL * 1000) and calls.any.is_set():
                watched.poll()
        except ProcessLookupError:
            pass
        servicer.flights.wait_for_none(LAST_CALL)
        done.set()

    gc.enable()
    threading.Thread(target=watch, daemon=True).start()
    done.wait()
    server.stop(0.5).wait()  # the answer to Shutdown goes out first
    path.unlink(missing_ok=True)
    os._exit(0)  # Terraform waits for our end; tearing grpc down takes longer than all of the above


def main() -> None:
    """Serve the process that started us."""
    gc.disable()  # until the server runs: collections are a tenth of the time of a start
    find_modules()
    try:
        serve(os.getppid())
    except (AttributeError, ImportError):
        if ALL_MODULES in os.environ:
            raise
        os.environ[ALL_MODULES] = "1"  # other versions of grpc or protobuf may want them after all
        os.execv(sys.executable, sys.orig_argv)


if __name__ == "__main__":
    main()
