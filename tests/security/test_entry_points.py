"""Where anything from outside is read: few modules, each named here with what it reads and from whom.

What a node, the login node, a cloud, a backup or a hook says is data. How that is kept is to be seen in these
modules and in no others; so whoever adds one says why here, and adds attacks on it to this directory.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_powersave

PACKAGE = Path(slurm_powersave.__file__).parent
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

JSON = {
    "adapters/terraform/base.py": "state and plan of the base; what the provider says is the cloud's",
    "adapters/ansible/configure_run.py": "what our playbook_run tells of nodes, and what it was asked for",
    "adapters/ansible/image_plays.py": "an image's provenance file, as the server says it",
    "adapters/local_cloud/cloud.py": "the local cloud's answers, by its command",
    "adapters/state_dir/lock.py": "who holds a lock: our own file",
    "adapters/openstack/api.py": "the cloud's answers",
    "adapters/openstack/errors.py": "the cloud's errors",
    "adapters/ansible/playbook_run.py": "what the engine asked for: our own file",
    "adapters/terraform/state_file.py": "Terraform's states, and their copies",
    "adapters/terraform/shards.py": "states, plans and variables; what the provider says is the cloud's",
    "decide/preflight/slurm_conf_look.py": "the tables of Slurm's keys: our own files",
    "adapters/terraform/command.py": "Terraform's -json output and version; diagnostics are the cloud's",
    "decide/commands/backup.py": "a backup's manifest",
    "adapters/ansible/play_check.py": "the plan of our own process, which has read Ansible's events",
    "engine/slurm_conf_in_use.py": "what of slurm.conf was given last: our own file",
    "commands/identity.py": "whose a state directory is: our own file",
    "adapters/ansible/site_variables.py": "the inventory: our own file",
}
YAML = {
    "adapters/openstack/credentials.py": "which clouds clouds.yaml names: a person's file",
    "decide/slurm_files/literal.py": "the inventory: our own file",
    "config/yaml_file.py": "the cluster file: a person's",
}
DECODING = {
    "adapters/state_dir/archive.py": "a backup's manifest",
    "adapters/processes/child_output.py": "what ansible-playbook prints, to show it",
    "adapters/ssh/known_hosts.py": "whose key a line of known_hosts is: our own file",
    "adapters/slurm/live_files.py": "Slurm's files on the login node, to compare and show them",
    "adapters/requests/link.py": "lines of the reader on the login node, and ssh's words",
    "adapters/openstack/console.py": "a host key on a server's console",
    "adapters/state_dir/pause_file.py": "a person's words in the state directory",
    "adapters/processes/process.py": "the output of every program that we run",
    "adapters/requests/spool.py": "requests, as the hooks wrote them",
    "adapters/requests/stream.py": "requests, as the reader sends them",
    "config/plain_file.py": "files of ours and of persons, for all the modules that read them",
    "commands/previous_file.py": "cluster files, to show how they differ",
    "model/hostlist.py": "hostlist expressions, from hooks, Slurm and persons",
}
ARCHIVES = {"adapters/state_dir/archive.py": "a backup"}
PATTERNS = {
    "adapters/ansible/check_events.py": "paths, units and hosts in what Ansible would change",
    "adapters/journal/evidence.py": "how the clocks stood: our own journal, or one of a backup",
    "adapters/ssh/known_hosts.py": "host keys, as a cloud hands them out",
    "adapters/state_dir/lock.py": "who holds a lock: our own file",
    "adapters/openstack/console.py": "host keys on a server's console",
    "adapters/openstack/errors.py": "the cloud's errors",
    "adapters/ansible/play_events.py": "Ansible's words about a node",
    "adapters/slurm/commands.py": "Slurm's version and refusals",
    "adapters/slurm/slurm_text.py": "what scontrol, squeue and sinfo print",
    "adapters/ssh/sockets.py": "TMPDIR",
    "adapters/requests/spool.py": "requests, as the hooks wrote them",
    "adapters/terraform/shards.py": "the address of a resource in Terraform's output",
    "adapters/terraform/versions.py": "Terraform's dependency lock file",
    "decide/commands/backup.py": "names of files in a backup and of backups",
    "config/fields.py": "the cluster file",
    "decide/node/failure_texts.py": "the words of a cloud, Terraform and Ansible, to class a failure",
    "decide/node/failure_words.py": "the words by which those texts are classed",
    "decide/commands/file_diff.py": "keys of the cluster file that name a secret",
    "decide/flavor/flavor_choice.py": "names of flavors, held against the cluster file's expression",
    "decide/commands/images.py": "an image's name, as a person gives it",
    "decide/slurm_files/removed_nodes.py": "our own slurm.conf",
    "decide/slurm_files/literal.py": "every text that Ansible gets, for what it would take for a template",
    "decide/preflight/pairs.py": "the gres_conf of the cluster file",
    "decide/node/failure_policy.py": "every text that becomes a reason in Slurm: one line of ASCII",
    "decide/node/reboot.py": "the reason of a reboot in Slurm",
    "decide/node/registration.py": "Slurm's reason for a registration that it refuses",
    "config/report.py": "pydantic's words about the cluster file",
    "decide/node/server_states.py": "the words of a cloud on a server's state",
    "decide/slurm_files/slurm_parameters.py": "the cluster file",
    "decide/node/admin_state.py": "the reason of a DRAIN or DOWN in Slurm",
    "config/yaml_file.py": "the cluster file",
    "commands/identity.py": "the cluster's name in our own slurm.conf",
    "engine/runs/results.py": "Terraform's words: which server has failed",
    "engine/node/soft_deleted.py": "the id of a server in the words of a cloud",
    "model/hardware.py": "what a node says by `slurmd -C`",
    "model/hostlist.py": "hostlist expressions",
    "model/outside_text.py": "ids, names, addresses and versions, wherever they come from",
    "model/printable.py": "every text, before it is shown",
    "model/slurm_version.py": "Slurm's version",
    "model/machine.py": "what Terraform and Ansible print of this host's own trouble",
}
PROGRAMS = {
    "adapters/processes/foreground.py": "terraform, in the foreground",
    "adapters/processes/child_output.py": "ansible-playbook, in the foreground",
    "wiring.py": "hands the function that runs programs to the adapter of Slurm",
    "adapters/ssh/login_host.py": "ssh to the jump host, ssh-keygen -F",
    "adapters/slurm/logs.py": "logs of the login node, kept as they are",
    "adapters/ansible/image_plays.py": "ssh to the servers of an image build",
    "adapters/requests/link.py": "ssh to the reader",
    "adapters/slurm/live_files.py": "base64 on the login node, of Slurm's files",
    "adapters/local_cloud/cloud.py": "the local cloud's command",
    "adapters/openstack/console.py": "ssh-keyscan, where the cluster file wants it",
    "adapters/ssh/node_steps.py": "ssh to a node: one of two words, or nothing",
    "adapters/ansible/play_check.py": "our own process, which asks Ansible what it would change",
    "adapters/ansible/playbooks.py": "our own playbook_run, detached",
    "adapters/processes/process.py": "runs what the others name",
    "adapters/ansible/project.py": "git describe of our own checkout",
    "adapters/terraform/shards.py": "terraform, detached",
    "adapters/terraform/command.py": "terraform version",
    "adapters/state_dir/own_files.py": "ssh-keygen, to make the cluster's key",
}
CONNECTIONS = {
    "adapters/requests/link.py": "the pipe from ssh",
    "adapters/processes/child_output.py": "the pipe from ansible-playbook",
    "adapters/processes/process.py": "the pipes of every program that we run",
    "adapters/ssh/probe.py": "an sshd's banner, and the number of its first message; no more than 1 KiB",
}
NOBODY: dict[str, str] = {}

KINDS: dict[str, tuple[dict[str, str], frozenset[str]]] = {
    "JSON": (
        JSON,
        frozenset({"json.load", "json.loads", "json.JSONDecoder", ".json", ".model_validate_json"}),
    ),
    "YAML": (
        YAML,
        frozenset(
            {"yaml.load", "yaml.safe_load", "yaml.load_all", "yaml.safe_load_all", "yaml.compose"}
            | {"yaml.compose_all", "yaml.parse", "yaml.scan", "yaml.SafeLoader", "yaml.CSafeLoader"}
            | {"yaml.Loader", "yaml.CLoader", "yaml.BaseLoader"}
        ),
    ),
    "decoding": (
        DECODING,
        frozenset(
            {".decode", "base64.b64decode", "codecs.getincrementaldecoder", "codecs.decode", "struct.unpack"}
            | {"binascii.unhexlify", "binascii.a2b_base64", "bytes.fromhex", "bytes.decode", "codecs.open"}
            | {"base64.urlsafe_b64decode", "base64.decodebytes", "struct.unpack_from", "struct.iter_unpack"}
            | {"urllib.parse.unquote", "urllib.parse.unquote_plus", "quopri.decodestring", "html.unescape"}
        ),
    ),
    "other formats": (
        NOBODY,
        frozenset(
            {"tomllib.load", "tomllib.loads", "csv.reader", "csv.DictReader", "configparser.ConfigParser"}
            | {"xml.etree.ElementTree.parse", "xml.etree.ElementTree.fromstring", "plistlib.loads"}
        ),
    ),
    "archives": (ARCHIVES, frozenset({"tarfile.open", "zipfile.ZipFile", "gzip.open", "zlib.decompress"})),
    "regular expressions": (
        PATTERNS,
        frozenset({f"re.{name}" for name in ("compile", "match", "fullmatch", "search", "sub", "split")})
        | {"re.findall", "re.finditer", "re.subn"},
    ),
    "programs and their output": (
        PROGRAMS,
        frozenset(
            {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
            | {"subprocess.getoutput", "subprocess.getstatusoutput", "pty.spawn", "pty.fork"}
            | {"asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell"}
            | {f"os.{name}" for name in ("execv", "execve", "execvp", "execvpe", "execl", "execlp", "fork")}
            | {f"os.{name}" for name in ("spawnv", "spawnve", "spawnvp", "spawnl", "posix_spawn")}
            | {f"slurm_powersave.adapters.processes.process.{name}" for name in ("run", "start_detached")}
        ),
    ),
    "connections": (
        CONNECTIONS,
        frozenset(
            {".recv", ".recvfrom", ".recvmsg", ".recv_into", ".makefile", "os.read", "os.readv"}
            | {"socket.create_connection", "urllib.request.urlopen", "http.client.HTTPConnection"}
        ),
    ),
    "code": (
        NOBODY,
        frozenset(
            {"eval", "exec", "compile", "__import__", "ast.literal_eval", "os.system", "os.popen"}
            | {f"{module}.{name}" for module in ("pickle", "marshal") for name in ("load", "loads")}
            | {"yaml.unsafe_load", "yaml.full_load", "jinja2.Template", "jinja2.Environment", "shelve.open"}
        ),
    ),
}
"""Kind -> the modules that may, and the calls that are it (`.name`: a method of anything)."""


@functools.cache
def calls(path: Path) -> tuple[tuple[str, int], ...]:
    return tuple(_calls(path))


def _calls(path: Path) -> Iterator[tuple[str, int]]:
    """Name all that a module uses, as it is named where it comes from; and the methods that it calls."""
    tree = ast.parse(path.read_text())
    origin: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origin |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            origin |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield _dotted(node, origin), node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield f".{node.func.attr}", node.lineno


def _dotted(node: ast.expr, origin: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return origin.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, origin)}.{node.attr}"
    return ""


def uses(name: str, wanted: frozenset[str]) -> bool:
    """Tell whether a name is one of those: by its origin, or as a method that is called."""
    return name in wanted


def found(kind: str) -> dict[str, list[int]]:
    """Module -> the lines that do it."""
    _, wanted = KINDS[kind]
    every = {
        name: [line for call, line in calls(path) if uses(call, wanted)] for name, path in MODULES.items()
    }
    return {name: sorted(set(lines)) for name, lines in every.items() if lines}


@pytest.mark.parametrize("kind", KINDS)
def test_only_these_modules_read_from_outside(kind: str) -> None:
    known, _ = KINDS[kind]
    new = {f"{PACKAGE / name}:{lines[0]}": kind for name, lines in found(kind).items() if name not in known}
    assert not new, (
        "name it in this file with what it reads and from whom, and attack it; or let another module do it"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_names_no_module_that_does_not(kind: str) -> None:
    known, _ = KINDS[kind]
    assert set(known) - set(found(kind)) == set()


def test_no_program_is_run_by_a_shell_s_reading_of_a_text() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and any(word.arg == "shell" for word in node.keywords)
    ]
    assert wrong == []


SHOWS = {
    "surfaces/cli/render.py": "tables, lines, JSON: everything that a command prints",
    "surfaces/cli/log.py": "an error that nobody expected",
    "adapters/processes/child_output.py": "what ansible-playbook prints",
    "adapters/ansible/play_check.py": "JSON for the command that has started it",
    "adapters/ansible/playbook_run.py": "JSON for the engine, into a file",
    "surfaces/cli/terminal.py": "a question",
}


def test_only_these_modules_write_to_a_terminal() -> None:
    """Each of them makes what it writes printable (test_terminal.py)."""
    wanted = frozenset(
        {"print", "typer.echo", "click.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write"}
        | {"typer.confirm", "typer.prompt", "click.confirm", "click.prompt", "click.secho", "input"}
        | {"sys.stdout.buffer.write", "sys.stderr.buffer.write", "traceback.print_exc"}
    )
    wanted |= {"sys.stdout.writelines", "sys.stderr.writelines", "os.write"}
    pipes = {
        "adapters/requests/link.py": "to ssh",
        "adapters/state_dir/lock.py": "into a file",
        "adapters/processes/process.py": "to a program's standard input",
        "adapters/requests/stream.py": "to a thread",
    }
    writes = {name for name, path in MODULES.items() if any(uses(call, wanted) for call, _ in calls(path))}
    assert writes - set(SHOWS) - set(pipes) == set()


def test_what_it_looks_for_is_found(tmp_path: Path) -> None:
    text = """
import json as j, re, subprocess
from base64 import b64decode as unpack
from slurm_powersave.adapters.processes.process import run as start
j.loads("1"); re.compile("x"); unpack(b""); start([]); b"".decode(); map(eval, []); response.json()
from tomllib import loads
from yaml import safe_load_all as read
from urllib import request
loads(""); read(""); request.urlopen("")
"""
    (tmp_path / "x.py").write_text(text)
    names = [name for name, _ in calls(tmp_path / "x.py")]
    seen = {kind for kind, (_, wanted) in KINDS.items() if any(uses(name, wanted) for name in names)}
    assert seen == set(KINDS) - {"archives"}
