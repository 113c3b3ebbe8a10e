"""The images as their users make them, compiled in the Dockerfile's own stages: stack.py --compile.

The Rust image is a Debian with a C compiler, this machine's Rust and the crates that its cargo has
fetched; the image with Node is one with Debian's. Nothing is optimised, because what is shown is that
every stage finds what it needs, and that a changed source compiles no dependency again.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

from engine import SCRIPTS, Engine, base_archive, digest, make
from world import ROOT, TESTS, Tally, run

MORE = SCRIPTS / "more.sh"
WORKSHOP = TESTS / ".cache" / "workshop"
PACKAGES = ("gcc", "libc6-dev", "nodejs", "npm", "python3", "python3-venv")
# Debian's own Python has pip in the environments that it makes alone.
PYTHON = TESTS / ".venv1" / "bin" / "python"
# Where the Rust of whoever calls is.
SYSROOT = "EDGE_SYSROOT"
DOCKERFILE = ROOT / "gateway" / "Dockerfile"
# What the context of the images has (.dockerignore).
CONTEXT = ["Cargo.toml", "Cargo.lock", "LICENSE-MIT", ".dockerignore", "gateway", "exporter", "config"]
COMPILE_DEADLINE_S = 3600.0
QUICK = {
    "CARGO_NET_OFFLINE": "true",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "0",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "256",
    "CARGO_PROFILE_RELEASE_DEBUG": "0",
}
# Node's own image has no compiler, and Rust's nothing but one for C.
MORE_THAN_RUST_HAS = "/usr/bin/make /usr/bin/*g++* /usr/bin/c++* /usr/bin/cmake"


def archive() -> Path:
    return WORKSHOP / f"workshop-{digest(MORE, SCRIPTS / 'base.sh')}.tar"


def fetch() -> None:
    """What needs the network and whoever calls: cargo, and what it has, may be theirs alone.

    Root comes by here again, and finds where it is.
    """
    if SYSROOT in os.environ:
        return
    wanted = re.search(r"uv==[\d.]+", DOCKERFILE.read_text())
    if wanted is None:
        sys.exit("the Dockerfile has no version of uv")
    pip = [str(PYTHON), "-m", "pip", "download", "--quiet", "--no-deps", wanted[0]]
    needed([*pip, "--dest", str(WORKSHOP / "wheels")])
    needed(["cargo", "fetch", "--quiet", "--locked", "--manifest-path", str(ROOT / "Cargo.toml")])
    os.environ.setdefault("CARGO_HOME", str(Path.home() / ".cargo"))
    os.environ[SYSROOT] = needed(["rustc", "--print", "sysroot"]).strip()


def needed(command: list[str]) -> str:
    """What a command says without which nothing can be compiled."""
    code, output = run(command, 600)
    if code != 0:
        sys.exit(f"`{' '.join(command)}` ended with {code}: {output.strip()}")
    return output


def workshop() -> None:
    """What needs the network, and root."""
    make(MORE, archive(), str(base_archive()), *PACKAGES)


def bases(docker: Engine) -> None:
    """Makes edge-rust and edge-node."""
    docker.must("docker", "import", str(archive()), "edge-workshop", deadline_s=600)
    copies = [(f"{os.environ[SYSROOT]}/{it}", "/usr/local/") for it in ("bin", "lib")]
    registry = Path(os.environ["CARGO_HOME"]) / "registry"
    copies += [(str(registry / it), "/cargo/registry/") for it in ("cache", "index")]
    settings = {"CARGO_HOME": "/cargo", **QUICK}
    assemble(docker, "edge-rust", f"mkdir -p /cargo/registry; rm -f {MORE_THAN_RUST_HAS}", copies, settings)
    copies = [(str(WORKSHOP / "wheels"), "/")]
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    assemble(docker, "edge-node", "true", copies, offline)


def assemble(
    docker: Engine,
    image: str,
    command: str,
    copies: list[tuple[str, str]],
    settings: dict[str, str],
) -> None:
    """An image of the workshop, of files from here and of variables."""
    docker.must("docker", "run", "--name", image, "edge-workshop", "sh", "-c", command)
    for source, target in copies:
        docker.must("docker", "cp", source, f"{image}:{target}", deadline_s=600)
    told = [word for it in settings.items() for word in ("--change", f"ENV {it[0]}={it[1]}")]
    docker.must("docker", "commit", *told, "--change", 'CMD ["sh"]', image, image, deadline_s=600)
    docker.must("docker", "rm", image)


def compiles(docker: Engine, tally: Tally, scratch: Path) -> None:
    bases(docker)
    context = scratch / "context"
    for name in CONTEXT:
        source = ROOT / name
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            # gateway/fuzz is in no image, and what it has found may be large.
            shutil.copytree(source, context / name, ignore=shutil.ignore_patterns("fuzz"))
        else:
            shutil.copy(source, context / name)
    for name in ("tests", "bench"):
        (context / name).mkdir()
        shutil.copy(ROOT / name / "Cargo.toml", context / name)
    for target in ("exporter", "runtime", "full"):
        said = built(docker, context, target)
        tally.ok(f"{target} is compiled: {said.count('   Compiling ')} crates")
    answers(docker, tally)
    for source, target, expected in (
        ("gateway/src/main.rs", "runtime", {"mcp-wire", "mcp-redis-target", "mcp-gateway"}),
        ("exporter/src/main.rs", "exporter", {"mcp-redis-target", "gateway-exporter"}),
    ):
        with (context / source).open("a") as file:
            file.write("// Another line.\n")
        again = set(re.findall(r"   Compiling (\S+)", built(docker, context, target)))
        tally.check(f"{source} changed: nothing else again", again == expected, again)
    servers(docker, tally, scratch)


def built(docker: Engine, context: Path, target: str) -> str:
    given = {**docker.env, "RUST_IMAGE": "edge-rust", "FULL_IMAGE": "edge-node", "BINARY_STAGE": "build"}
    names = ("RUST_IMAGE", "RUNTIME_IMAGE", "FULL_IMAGE", "BINARY_STAGE")
    words = [word for it in names for word in ("--build-arg", f"{it}={given[it]}")]
    words += ["--tag", f"edge-{target}", "--file", str(context / "gateway" / "Dockerfile")]
    said = docker.must(
        *("docker", "build", *words, "--target", target, str(context)),
        deadline_s=COMPILE_DEADLINE_S,
    )
    # The engine colours each piece that comes, and a line may come in several.
    return re.sub(r"\x1b\[[0-9;]*m", "", said)


def answers(docker: Engine, tally: Tally) -> None:
    """What was compiled runs."""
    limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    environment = ["--env", "MCP_GATEWAY_AUTH=none", "--env", "EXPORTER_LISTEN=0.0.0.0:9091"]
    for target, port in (("runtime", 3000), ("full", 3000), ("exporter", 9091)):
        docker.must("docker", "run", "--detach", "--name", target, *limits, *environment, f"edge-{target}")
        ask = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf 'GET /health HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3; head -n1 <&3"
        again = f"for try in $(seq 50); do ({ask}) 2>/dev/null && exit; sleep 0.2; done"
        _code, said = docker.run("docker", "exec", target, "bash", "-c", again)
        tally.check(f"{target}: /health", " 200 " in said, said or docker.run("docker", "logs", target)[1])
        docker.must("docker", "rm", "--force", target)


def servers(docker: Engine, tally: Tally, scratch: Path) -> None:
    """In the full image npx and uvx start a package, which here is a file."""
    packages = scratch / "packages"
    (packages / "node").mkdir(parents=True)
    (packages / "node" / "package.json").write_text(
        '{"name": "edge-node-server", "version": "1.0.0", "bin": "server.js"}'
    )
    (packages / "node" / "server.js").write_text(
        "#!/usr/bin/env node\nconsole.log('started by', process.getuid())\n"
    )
    wheel = packages / "edge_server-1.0.0-py3-none-any.whl"
    about = "edge_server-1.0.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("edge_server.py", "import os\ndef main(): print('started by', os.getuid())\n")
        file.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: edge-server\nVersion: 1.0.0\n")
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{about}/entry_points.txt", "[console_scripts]\nedge-server = edge_server:main\n")
        file.writestr(f"{about}/RECORD", "")
    told = docker.inspect("edge-full")["Config"]["Env"]
    folder = next(it.removeprefix("HOME=") for it in told if it.startswith("HOME="))
    home = ["--volume", f"edge-home:{folder}", "--volume", f"{packages}:/packages:ro"]
    limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--network", "none"]
    for name, *words in (
        ("npx", "--yes", "--offline", "file:/packages/node"),
        ("uvx", "--offline", "--from", f"/packages/{wheel.name}", "edge-server"),
    ):
        command = ["docker", "run", "--rm", *home, *limits, "--entrypoint", name, "edge-full", *words]
        code, said = docker.run(*command)
        tally.check(f"{name} starts a server, not as root", "started by 65532" in said, (code, said))
