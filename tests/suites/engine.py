"""A container engine of the suite's own: nothing of it is left on the machine.

The suite runs again in namespaces of its own (network, mounts, processes). So the engine's bridges,
packet filters and published ports are nobody else's, ports may be the ones that users have, nothing
can be pulled from anywhere, and all of it ends with the suite, however that ends. What is kept for
the next run is below `tests/.cache`: in `stack` the stand-in for the base images and the images'
layers, in `programs` those that are of other versions than this Debian's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from world import ROOT, TARGET, TESTS, Failure, Process, World, run, wait_until

CACHE = TESTS / ".cache" / "stack"
MADE = TESTS / ".cache" / "programs"
SCRIPTS = TESTS / "stack"
BASE = SCRIPTS / "base.sh"
PREBUILT = ROOT / "target" / "prebuilt"
PROGRAMS = ("mcp-gateway", "gateway-exporter")
INSIDE = "EDGE_STACK_INSIDE"
# The control groups of its containers: those alone outlive the namespaces.
GROUP = "edge-stack"
MAKE_DEADLINE_S = 900.0
COMMAND_DEADLINE_S = 240.0
# As the official image has it: nginx of that version, and the small tools that Alpine's shell is
# and calls in place of Debian's.
NGINX = """FROM {}
COPY nginx /usr/sbin/nginx
RUN mkdir /tools && busybox --install -s /tools && ln -sf busybox /bin/sh
ENV PATH=/tools:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


def enter(fetch: Callable[[], None] | None = None) -> None:
    """What needs the network, and then this program again where there is none.

    `fetch` is what more of it somebody needs, who is root then.
    """
    if os.environ.get(INSIDE):
        return
    # As whoever calls: cargo may be theirs alone.
    make(SCRIPTS / "nginx.sh", nginx_program())
    if fault := made(SCRIPTS / "compose.sh", compose_program()):
        # One check of all needs it, and fails without it.
        print(f"# {fault}", flush=True)
    if os.geteuid() != 0:
        again = ["sudo", "-n", "-E", sys.executable, *sys.argv]
        os.execvp(again[0], again)
    make(BASE, base_archive())
    if fetch is not None:
        fetch()
    flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    again = ["unshare", *flags, "--", sys.executable, *sys.argv]
    os.execvpe(again[0], again, {**os.environ, INSIDE: "yes"})


def make(script: Path, file: Path, *more: str) -> None:
    """As `made`, and ends the suite where that fails."""
    if fault := made(script, file, *more):
        print(f"not ok {fault}")
        print("0 passed, 1 failed")
        sys.exit(1)


def made(script: Path, file: Path, *more: str) -> str:
    """Has a script make a file that is not there, in place of the one before it; what went wrong."""
    if file.exists():
        return ""
    file.parent.mkdir(parents=True, exist_ok=True)
    stem = file.name.split("-")[0]
    # Where it was the base, every layer above it goes too.
    for old in file.parent.iterdir() if file.parent == CACHE else file.parent.glob(f"{stem}-*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    code, output = run([str(script), str(file), *more], MAKE_DEADLINE_S)
    if code == 0:
        return ""
    tail = " | ".join(output.strip().splitlines()[-5:])
    return f"{script.name} makes {stem}: exit {code}: {tail}"


def give_back() -> None:
    """What the suite wrote as root belongs to who called it, who may take it away again."""
    if not (user := os.environ.get("SUDO_UID")):
        return
    owner = (int(user), int(os.environ.get("SUDO_GID", user)))
    # But for the engine's own files, which only root can use.
    logs = Path(os.environ.get("EDGE_LOGS", CACHE)) / "stack"
    for top in (logs, PREBUILT, CACHE, MADE):
        for folder, below, names in os.walk(top):
            below[:] = [it for it in below if Path(folder, it) != CACHE / "engine"]
            for path in (folder, *(os.path.join(folder, it) for it in names)):
                os.chown(path, *owner, follow_symlinks=False)


def base_archive() -> Path:
    return CACHE / f"base-{digest(BASE)}.tar"


def nginx_program() -> Path:
    return MADE / f"nginx-{digest(SCRIPTS / 'nginx.sh', SCRIPTS / 'nginx' / 'Cargo.lock')}"


def compose_program() -> Path:
    return MADE / f"compose-{digest(SCRIPTS / 'compose.sh')}"


def digest(*sources: Path) -> str:
    """What a file is named after, so that it is made again when something else makes it."""
    return hashlib.sha256(b"".join(it.read_bytes() for it in sources)).hexdigest()[:12]


@dataclass
class Engine:
    """A running dockerd, and the environment in which `docker` and `docker-compose` talk to it."""

    process: Process
    env: dict[str, str]

    def run(self, *words: str, deadline_s: float = COMMAND_DEADLINE_S) -> tuple[int, str]:
        """A command to its end: exit code, and both its outputs."""
        return run(list(words), deadline_s, self.env)

    def must(self, *words: str, deadline_s: float = COMMAND_DEADLINE_S) -> str:
        """A command that has to succeed; its output."""
        code, output = self.run(*words, deadline_s=deadline_s)
        if code != 0:
            tail = " | ".join(output.strip().splitlines()[-8:])
            raise Failure(f"`{' '.join(words)}` ended with {code}: {tail}")
        return output

    def compose(self, *words: str, deadline_s: float = COMMAND_DEADLINE_S) -> str:
        return self.must("docker-compose", *words, deadline_s=deadline_s)

    def inspect(self, name: str) -> dict[str, object]:
        return json.loads(self.must("docker", "inspect", name))[0]


def engine(world: World) -> Engine:
    """Starts dockerd with the stand-ins for base images; its state goes with the namespaces."""
    assert os.environ.get(INSIDE), "engine() is for after enter()"
    # Whatever engine the machine has keeps its sockets here.
    for command in (["mount", "-t", "tmpfs", "tmpfs", "/run"], ["ip", "link", "set", "lo", "up"]):
        code, output = run(command, 10)
        if code != 0:
            raise Failure(f"`{' '.join(command)}` ended with {code}: {output.strip()}")
    state = Path("/run/edge")
    state.mkdir()
    (state / "settings.json").write_text("{}")
    socket = f"unix://{state}/docker.sock"
    command = ["dockerd", "--host", socket, "--config-file", f"{state}/settings.json"]
    command += ["--data-root", f"{CACHE}/engine", "--exec-root", f"{state}/exec"]
    command += ["--pidfile", f"{state}/docker.pid", "--log-level", "warn"]
    command += ["--cgroup-parent", GROUP, "--exec-opt", "native.cgroupdriver=cgroupfs"]
    process = world.start("dockerd", command)
    stand_in = f"edge-base:{base_archive().stem.removeprefix('base-')}"
    env = {
        "DOCKER_HOST": socket,
        "DOCKER_CONFIG": str(state),
        "COMPOSE_PROJECT_NAME": "edge",
        "BINARY_STAGE": "prebuilt",
        **dict.fromkeys(("RUST_IMAGE", "RUNTIME_IMAGE", "REDIS_IMAGE"), stand_in),
        "NGINX_IMAGE": "edge-nginx",
        "PROMETHEUS_IMAGE": "edge-prometheus",
        # Never started: it is in no Debian package.
        "GRAFANA_IMAGE": stand_in,
    }
    started = Engine(process, env)
    wait_until("dockerd answers", process, lambda: started.run("docker", "version")[0] == 0)
    clean(started)
    if started.run("docker", "image", "inspect", stand_in)[0] != 0:
        change = ["--change", 'CMD ["sh"]']
        started.must("docker", "import", *change, str(base_archive()), stand_in)
    build(started, state / "prometheus", f'FROM {stand_in}\nENTRYPOINT ["prometheus"]\n')
    build(started, state / "nginx", NGINX.format(stand_in), nginx_program())
    prebuild()
    return started


def build(engine: Engine, folder: Path, dockerfile: str, *files: Path) -> None:
    """Makes the image `edge-FOLDER` of a few lines and files."""
    folder.mkdir()
    (folder / "Dockerfile").write_text(dockerfile)
    for file in files:
        shutil.copy(file, folder / file.name.split("-")[0])
    engine.must("docker", "build", "--tag", f"edge-{folder.name}", str(folder))


def clean(engine: Engine) -> None:
    """Takes away whatever a run leaves but the images' layers."""
    if containers := engine.must("docker", "ps", "--all", "--quiet").split():
        engine.must("docker", "rm", "--force", *containers)
    for kind in ("network", "volume", "image"):
        engine.must("docker", kind, "prune", "--force")
    if volumes := engine.must("docker", "volume", "ls", "--quiet").split():
        engine.must("docker", "volume", "rm", *volumes)
    for group in [*Path("/sys/fs/cgroup").glob(GROUP), *Path("/sys/fs/cgroup").glob(f"*/{GROUP}")]:
        for folder, _below, _files in os.walk(group, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)


def prebuild() -> None:
    """Puts the programs where the Dockerfiles look for them, without what debuggers read."""
    PREBUILT.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        program, ready = TARGET / name, PREBUILT / name
        if not program.exists():
            raise Failure(f"{program} is missing: cargo build --workspace --bins builds it")
        if ready.exists() and ready.stat().st_mtime >= program.stat().st_mtime:
            continue
        code, output = run(["strip", "--strip-debug", "-o", str(ready), str(program)], 60)
        if code != 0:
            raise Failure(f"strip ended with {code}: {output.strip()}")


