"""The tests of the shipped nginx (`it/nginx/`), with nginx of the version that the images have.

`cargo test` runs them with the nginx of this machine, which is Debian's and older.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from engine import MADE, SCRIPTS, make, nginx_program
from world import ROOT

DOCKERFILE = ROOT / "nginx" / "Dockerfile"
# As whom the tests run some of them where they may.
USER = 65532


def check_version() -> None:
    """That PATH leads to it, for every user: else it would be Debian's that is tested."""
    found = re.search(r"^ARG NGINX_IMAGE=\S*nginx:(\d+\.\d+)", DOCKERFILE.read_text(), re.MULTILINE)
    if found is None:
        sys.exit(f"{DOCKERFILE} names no nginx")
    for user in {os.geteuid(), USER} if os.geteuid() == 0 else {os.geteuid()}:
        told = subprocess.run(
            ["nginx", "-v"], user=user, capture_output=True, text=True, timeout=10, check=False
        ).stderr
        if f"nginx/{found[1]}." not in told:
            sys.exit(f"the nginx of user {user} is not the one that was built: {told.strip()}")


if __name__ == "__main__":
    make(SCRIPTS / "nginx.sh", nginx_program())
    link = MADE / "bin" / "nginx"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(nginx_program())
    os.chdir(ROOT)
    os.environ["PATH"] = f"{link.parent}:{os.environ['PATH']}"
    check_version()
    os.execvp("cargo", ["cargo", "test", "--workspace", "--test", "it", "--", "nginx::"])
