"""What is in `deploy/`: units, agents and manifests, held to those who will read them.

systemd's own checker reads the units, Apple's format is read as such, and the manifests are held to
the schemas of the Kubernetes API. What several files have to agree on (names, ports, deadlines,
variables) is compared.
"""

from __future__ import annotations

import json
import plistlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from world import ROOT, Tally

DEPLOY = ROOT / "deploy"
#: The oldest version that is still given fixes when this is written, and the newest known.
KUBERNETES = ("1.33", "1.37")
#: The part of ServiceMonitor that is used (monitoring.coreos.com/v1, prometheus-operator).
SERVICE_MONITOR = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["selector", "endpoints"],
            "additionalProperties": False,
            "properties": {
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "matchLabels": {
                            "type": "object",
                            "additionalProperties": {"type": "string"},
                        }
                    },
                },
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["port"],
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "interval": {"type": "string", "pattern": "^[0-9]+[smh]$"},
                            "scrapeTimeout": {"type": "string", "pattern": "^[0-9]+[smh]$"},
                            "honorLabels": {"type": "boolean"},
                            "relabelings": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "properties": {
                                        "targetLabel": {"type": "string"},
                                        "replacement": {"type": "string"},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
#: What a unit may be exposed to, at the most: systemd's own figure, out of 10.
EXPOSURE = 2.0
#: A stop takes up to this (docs/operate.md).
STOP_S = 35


def units(tally: Tally) -> None:
    analyze = shutil.which("systemd-analyze")
    tally.check("systemd-analyze is there", analyze is not None, "install Debian's systemd")
    if analyze is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        for unit in sorted((DEPLOY / "systemd").glob("*.service")):
            # The checker wants the programs to be there; they are the user's to install.
            text = unit.read_text().replace("/usr/local/bin/mcp-gateway", "/bin/true")
            text = text.replace("/usr/local/bin/gateway-exporter", "/bin/true")
            copy = Path(folder) / unit.name
            copy.write_text(text)
            verified = subprocess.run(
                [analyze, "verify", "--man=no", str(copy)],
                capture_output=True, text=True, timeout=60, check=False,
            )
            said = [line for line in verified.stderr.splitlines() if unit.name in line]
            tally.check(f"{unit.name} verifies", verified.returncode == 0 and not said, said)
            rated = subprocess.run(
                [analyze, "security", "--offline=true", "--no-pager", str(copy)],
                capture_output=True, text=True, timeout=60, check=False,
            )
            found = re.search(r"exposure level for \S+: ([0-9.]+)", rated.stdout)
            level = float(found.group(1)) if found else 10.0
            tally.check(f"{unit.name} is exposed to {level}", level <= EXPOSURE, rated.stdout[-300:])
            readable_by_its_user(tally, unit)
            stop = re.search(r"^TimeoutStopSec=(\d+)$", unit.read_text(), re.MULTILINE)
            wanted = STOP_S if unit.name.startswith("mcp-gateway") else 0
            tally.check(f"{unit.name} may stop", stop and int(stop.group(1)) > wanted, stop)


def readable_by_its_user(tally: Tally, unit: Path) -> None:
    """What a unit reads without being root has to be installed for all to read."""
    text = unit.read_text()
    installed = re.findall(r"^#   install .*?-m (\d+) \S+ (/etc/\S+[^/\s])$", text, re.MULTILINE)
    modes = {path: int(mode, 8) for mode, path in installed}
    read = re.findall(r"^ExecStart=.* --config (\S+)$", text, re.MULTILINE)
    if "DynamicUser=yes" in text:
        shut = [path for path in read if modes.get(path, 0) & 0o004 == 0]
        tally.check(f"{unit.name}: its user can read its configuration", not shut, (shut, modes))


def probes(tally: Tally) -> None:
    """Exporters outside of compose are told what to probe: nobody there is called nginx."""
    unit = (DEPLOY / "systemd/gateway-exporter.service").read_text()
    agent = plistlib.loads((DEPLOY / "launchd/org.mcp-gateway.exporter.plist").read_bytes())
    pod = next(it for _, it in documents()
               if it["kind"] == "Deployment" and it["metadata"]["name"] == "gateway-exporter")
    told = pod["spec"]["template"]["spec"]["containers"][0]["env"]
    local = "http://127.0.0.1:3000"
    tally.check("the unit probes what is there", f"\nEnvironment=EXPORTER_PROBE={local}\n" in unit, unit)
    probed = agent["EnvironmentVariables"].get("EXPORTER_PROBE")
    tally.check("the agent probes what is there", probed == local, probed)
    probed = {it["name"]: it.get("value") for it in told}.get("EXPORTER_PROBE")
    tally.check("the pod probes a service", probed == "http://mcp-gateway:3000", probed)
    policy = next(it for _, it in documents()
                  if it["kind"] == "NetworkPolicy" and it["metadata"]["name"] == "mcp-gateway")
    may = [peer.get("podSelector", {}).get("matchLabels", {})
           for rule in policy["spec"]["ingress"] if {"port": "http"} in rule["ports"]
           for peer in rule["from"]]
    labels = pod["spec"]["template"]["metadata"]["labels"].items()
    let = any(it and it.items() <= labels for it in may)
    tally.check("and is let there", let, may)


def agents(tally: Tally) -> None:
    for agent in sorted((DEPLOY / "launchd").glob("*.plist")):
        try:
            read = plistlib.loads(agent.read_bytes())
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is the finding
            tally.not_ok(f"{agent.name} is a property list", fault)
            continue
        tally.check(f"{agent.name} is called as its file", f"{read['Label']}.plist" == agent.name, read)
        program = read["ProgramArguments"][0]
        tally.check(f"{agent.name} starts a program", program.startswith("/usr/local/bin/"), program)
        if "gateway.gateway" in agent.name:
            tally.check(f"{agent.name} may stop", read["ExitTimeOut"] > STOP_S, read)


def documents() -> list[tuple[str, dict]]:
    found = []
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        found += [(path.name, it) for it in yaml.safe_load_all(path.read_text()) if it]
    return found


def manifests(tally: Tally) -> None:
    for file, document in documents():
        name = f"{file} {document['kind']}/{document['metadata']['name']}"
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            faults = list(jsonschema.Draft7Validator(SERVICE_MONITOR).iter_errors(document))
            tally.check(name, not faults, [it.message for it in faults])
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
                tally.ok(f"{name} in {version}")
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is the finding
                tally.not_ok(f"{name} in {version}", str(fault).splitlines()[0])
    broken = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"},
              "spec": {"ports": [{"prot": 1}]}}
    try:
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)
        tally.not_ok("a wrong manifest is refused", "it was taken")
    except kubernetes_validate.ValidationError:
        tally.ok("a wrong manifest is refused")


def agreement(tally: Tally) -> None:
    """What the manifests say of each other."""
    all_ = [document for _, document in documents()]
    of = lambda kind: [it for it in all_ if it["kind"] == kind]  # noqa: E731
    pods = {it["metadata"]["name"]: it["spec"]["template"] for it in of("Deployment")}
    for name, pod in pods.items():
        spec = pod["spec"]
        container = spec["containers"][0]
        ports = {it["name"] for it in container["ports"]}
        secure = spec["securityContext"]
        inner = container["securityContext"]
        restricted = (
            secure["runAsNonRoot"] and secure["seccompProfile"]["type"] == "RuntimeDefault"
            and inner["allowPrivilegeEscalation"] is False
            and inner["readOnlyRootFilesystem"] is True
            and inner["capabilities"] == {"drop": ["ALL"]}
        )
        tally.check(f"{name} is restricted", restricted, (secure, inner))
        tally.check(f"{name} gets no links", spec["enableServiceLinks"] is False, spec)
        probes = [it for it in container if it.endswith("Probe")]
        named = {container[it]["httpGet"]["port"] for it in probes}
        tally.check(f"{name} is probed at its ports", probes and named <= ports, (named, ports))
        # The exporter's page asks every replica, and one that hangs is no fault of it.
        asked = {container[it]["httpGet"]["path"] for it in probes}
        tally.check(f"{name} answers probes by itself", "/" not in asked, asked)
        volumes = {it["name"] for it in spec["volumes"]}
        mounted = {it["name"] for it in container["volumeMounts"]}
        tally.check(f"{name} mounts what there is", mounted == volumes, (mounted, volumes))
        memory = container["resources"]["limits"]["memory"]
        tally.check(f"{name} has a limit of memory", bool(memory), memory)
    grace = pods["mcp-gateway"]["spec"]["terminationGracePeriodSeconds"]
    tally.check("a pod may stop", grace > STOP_S, grace)
    for service in of("Service"):
        selected = [name for name, pod in pods.items()
                    if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        tally.check(f"service {service['metadata']['name']} finds one", len(selected) == 1, selected)
        container = pods[selected[0]]["spec"]["containers"][0]
        ports = {it["name"] for it in container["ports"]}
        wanted = {it["targetPort"] for it in service["spec"]["ports"]}
        tally.check(f"service {service['metadata']['name']} reaches a port", wanted <= ports, wanted)
    for monitor in of("ServiceMonitor"):
        labels = monitor["spec"]["selector"]["matchLabels"].items()
        found = [it for it in of("Service") if labels <= it["metadata"]["labels"].items()]
        name = monitor["metadata"]["name"]
        tally.check(f"monitor {name} finds one service", len(found) == 1, found)
        ports = {it["name"] for it in found[0]["spec"]["ports"]}
        wanted = {it["port"] for it in monitor["spec"]["endpoints"]}
        tally.check(f"monitor {name} reaches a port", wanted <= ports, wanted)
        jobs = {it["replacement"] for end in monitor["spec"]["endpoints"]
                for it in end["relabelings"] if it["targetLabel"] == "job"}
        tally.check(f"monitor {name} is the job of that name", jobs == {name}, jobs)
    scaled = of("HorizontalPodAutoscaler")[0]["spec"]
    tally.check("the autoscaler finds its deployment", scaled["scaleTargetRef"]["name"] in pods, scaled)
    # What names no session would have an empty hash, and all of it come to the same pod.
    annotations = of("Ingress")[0]["metadata"]["annotations"]
    hashed = [it for it in annotations if it.endswith("/upstream-hash-by")]
    tally.check("new sessions are spread over the pods", not hashed, hashed)
    fixed = [it for it in of("Deployment") if it["metadata"]["name"] == "mcp-gateway"]
    tally.check("and is not overruled by it", "replicas" not in fixed[0]["spec"], fixed[0]["spec"])
    config = json.loads(of("ConfigMap")[0]["data"]["gateway.json"])
    tally.check("the configuration has servers", bool(config["servers"]), config)


def variables(tally: Tally) -> None:
    """No file sets a variable that nobody reads."""
    source = "".join(it.read_text() for folder in ("gateway/src", "exporter/src")
                     for it in (ROOT / folder).rglob("*.rs"))
    own = re.compile(r"\b((?:MCP_GATEWAY|EXPORTER|REDIS|SESSION)_[A-Z_]+)\b")
    for path in sorted(it for it in DEPLOY.rglob("*") if it.is_file()):
        # What Kubernetes sets, and the gateway tells from a setting of its own.
        names = set(own.findall(path.read_text())) - {"MCP_GATEWAY_PORT"}
        # A secret may come as a file: NAME_FILE stands for NAME.
        unread = [it for it in names if it not in source and it.removesuffix("_FILE") not in source]
        tally.check(f"{path.name} sets what is read", not unread, unread)


def runbooks(tally: Tally) -> None:
    """Every alert names a place of docs/operate.md, and every link within that page leads somewhere."""
    page = (ROOT / "docs/operate.md").read_text()
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", it.strip().lower()).replace(" ", "-") for it in headings}
    rules = ROOT / "config/prometheus/rules"
    named = {}
    for path in rules.glob("*.yml"):
        for group in yaml.safe_load(path.read_text()).get("groups", []):
            for rule in group["rules"]:
                if "alert" in rule:
                    named[rule["alert"]] = rule["annotations"]["runbook"]
    tally.check("there are alerts", len(named) > 10, named)
    lost = {name: it for name, it in named.items()
            if it.partition("#")[0] != "docs/operate.md" or it.partition("#")[2] not in anchors}
    tally.check("every alert has its place", not lost, lost)
    broken = [it for it in re.findall(r"\]\(#([^)]+)\)", page) if it not in anchors]
    tally.check("every link leads somewhere", not broken, broken)


def main() -> int:
    tally = Tally()
    for part in (units, agents, manifests, probes, agreement, variables, runbooks):
        try:
            part(tally)
        except Exception as fault:  # noqa: BLE001 - a check that cannot run has failed
            tally.not_ok(part.__name__, f"{type(fault).__name__} {fault}")
    return tally.close()


if __name__ == "__main__":
    sys.exit(main())
