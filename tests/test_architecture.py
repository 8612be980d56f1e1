"""The shape of the source: imports run one way, a few things have a single place, and files stay small.

Each rule reads the syntax tree, so that nothing has to be imported; each failure says where and why.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FILE = 350
LISTS = {"monitor/store/tables.py"}  # one declaration after the other: splitting it would hide that it is all

# From the bottom to the top: a module may import its own room and what stands in the layers before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "monitor.settings",
        "monitor.errors",
        "monitor.clock",
        "monitor.log",
        "monitor.telemetry",
        "monitor.columns",
        "monitor.remembered",
        "monitor.nearest",
    ),
    ("monitor.stats", "monitor.store"),
    ("monitor.ingest", "monitor.evaluate", "monitor.alerts", "monitor.archive"),
    (
        "monitor.api",
        "monitor.jobs",
        "monitor.catchup",
        "monitor.sweep",
        "monitor.curves",
        "monitor.reports",
        "monitor.backtests",
        "monitor.slices",
        "monitor.monthly",
        "monitor.tasks",
        "monitor.work",
        "monitor.doctor",
        "monitor.leadership",
        "dashboards",
    ),
    ("monitor.app", "monitor.worker", "monitor.installation"),
    ("monitor.server",),
    ("monitor.cli", "monitor.commands"),
    ("monitor.client",),  # runs elsewhere: it imports nothing of the service, and nothing of the service imports it
)
FRIENDLY = {0, 3, 6}  # in these a room may use its neighbours: the ground, and where things are composed


class Import(NamedTuple):
    """One imported name and where."""

    name: str
    line: int
    top_level: bool


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def nodes_of(tree: ast.Module) -> list[ast.AST]:
    return list(ast.walk(tree))


@cache
def imports(tree: ast.Module) -> list[Import]:
    """Everything that a module imports, `from package import module` as package.module; not under TYPE_CHECKING."""
    top = {id(node) for node in tree.body}
    found = []
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            found += [Import(f"{base}.{alias.name}", node.lineno, id(node) in top) for alias in node.names]
    return found


def inside(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def layer_of(name: str) -> tuple[int, str] | None:
    for level, rooms in enumerate(LAYERS):
        for room in rooms:
            if inside(name, room):
                return level, room
    return None


def places(hits: list[str], why: str) -> str:
    return why + "\n  " + "\n  ".join(hits)


def where(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


PRODUCT = sources("monitor", "dashboards")


def test_every_module_has_a_place_in_the_order():
    unknown = [module for path in PRODUCT if layer_of(module := module_of(path)) is None and module != "monitor"]
    assert not unknown, places(unknown, "add these to LAYERS in this test, or put them into a room:")


def test_imports_run_one_way():
    hits = []
    for path in PRODUCT:
        mine = layer_of(module_of(path))
        if mine is None:
            continue
        for found in imports(tree_of(path)):
            theirs = layer_of(found.name)
            if theirs is None or theirs[1] == mine[1] or theirs[0] < mine[0]:
                continue
            if mine[0] == theirs[0] and mine[0] in FRIENDLY:
                continue
            hits.append(where(path, found.line, f"{mine[1]} imports {found.name}"))
    assert not hits, places(
        hits,
        "imports run settings, errors, clock, log, telemetry, columns <- stats | store <- ingest | evaluate | alerts"
        " (never each other) <- api | jobs | dashboards <- app, worker <- cli; give the data as an argument instead:",
    )


def importers(package: str) -> Iterator[tuple[Path, Import]]:
    for path in PRODUCT:
        for found in imports(tree_of(path)):
            if inside(found.name, package):
                yield path, found


SINGLE_PLACES = [
    ("weasyprint", {"dashboards/pdf_child.py"}, "it needs Pango and takes a second to import; a process of its own"),
    ("evidently", {"monitor/stats/report.py"}, "it costs ten seconds to import; reports run in a process of their own"),
    ("pandas", {"monitor/stats/report.py"}, "the product computes on Arrow and numpy"),
    ("sklearn", set(), "the statistics are ours, tested against it"),
    (
        "scipy",
        {
            "monitor/stats/evidence.py",
            "monitor/stats/detector.py",
            "monitor/stats/incident.py",
            "monitor/stats/screen.py",
        },
        "it costs seconds and 80 MB in every process",
    ),
    ("cryptography", {"monitor/store/seal.py"}, "one way to seal, and loaded only where something is sealed"),
    ("httpcore", {"monitor/alerts/guard.py"}, "all outgoing HTTP passes the guard"),
    ("httpx", set(), "all outgoing HTTP passes the guard"),
    ("apprise", {"monitor/alerts/kinds/apprised.py"}, "it connects by itself; its process checks every connection"),
    ("smtplib", {"monitor/alerts/kinds/mail.py"}, "mail goes to the operator's server alone"),
    ("requests", set(), "all outgoing HTTP passes the guard"),
    ("urllib.request", set(), "all outgoing HTTP passes the guard"),
    ("http.client", {"monitor/client/transport.py"}, "all outgoing HTTP of the service passes the guard"),
    ("aiohttp", set(), "all outgoing HTTP passes the guard"),
    ("pickle", set(), "unpickling runs code"),
    ("marshal", set(), "unmarshalling runs code"),
    ("shelve", set(), "unpickling runs code"),
    ("joblib", set(), "unpickling runs code"),
    ("cloudpickle", set(), "unpickling runs code"),
]


@pytest.mark.parametrize(("package", "allowed", "why"), SINGLE_PLACES, ids=[one[0] for one in SINGLE_PLACES])
def test_a_package_is_imported_only_in_its_place(package: str, allowed: set[str], why: str):
    hits = [
        where(path, found.line, found.name)
        for path, found in importers(package)
        if path.relative_to(ROOT).as_posix() not in allowed
    ]
    assert not hits, places(hits, f"{package} is imported only in {sorted(allowed) or 'no module'}: {why}:")


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def uses(names: set[str], allowed: set[str], trees: list[Path] = PRODUCT) -> list[str]:
    """Where one of the dotted names is read, or its last part is imported from its module, outside `allowed`."""
    hits = []
    for path in trees:
        if path.relative_to(ROOT).as_posix() in allowed:
            continue
        tree = tree_of(path)
        hits += [
            where(path, node.lineno, dotted(node))
            for node in nodes_of(tree)
            if isinstance(node, ast.Attribute) and dotted(node) in names
        ]
        hits += [where(path, found.line, f"imports {found.name}") for found in imports(tree) if found.name in names]
    return hits


def test_the_environment_is_read_only_in_settings():
    hits = uses({"os.environ", "os.getenv", "os.environb"}, {"monitor/settings.py"})
    assert not hits, places(hits, "settings.load() knows every variable; `keepwatch doctor` shows them:")


WALL_CLOCK = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.perf_counter",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.date.today",
}


def test_the_wall_clock_is_read_only_in_clock():
    hits = uses(WALL_CLOCK, {"monitor/clock.py", "monitor/client/clock.py"})
    assert not hits, places(hits, "time is an argument; who must ask, asks monitor.clock:")


def test_statistics_never_ask_the_clock():
    asked = uses({"clock.now", "clock.monotonic"}, set(), sources("monitor/stats"))
    assert not asked, places(asked, "statistics get their times as arguments:")


def test_commits_happen_only_in_the_session():
    hits = []
    for path in PRODUCT:
        if path.relative_to(ROOT).as_posix() == "monitor/store/session.py":
            continue
        hits += [
            where(path, node.lineno, dotted(node.func))
            for node in nodes_of(tree_of(path))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and (node.func.attr == "commit" or (node.func.attr == "begin" and "engine" in dotted(node.func)))
            and dotted(node.func) != "nested.commit"  # a savepoint inside a transaction of the session
        ]
    assert not hits, places(hits, "use `with writing(engine)`: what is acknowledged is then durable:")


def test_nothing_evaluates_text_as_code():
    hits = [
        where(path, node.lineno, dotted(node.func))
        for path in PRODUCT
        for node in nodes_of(tree_of(path))
        if isinstance(node, ast.Call) and dotted(node.func) in {"eval", "exec", "compile", "__import__"}
    ]
    hits += uses({"yaml.load", "yaml.unsafe_load", "yaml.full_load", "np.load", "numpy.load", "os.system"}, set())
    assert not hits, places(hits, "code comes from this repository only; YAML is read by yaml.safe_load:")


def test_no_shell_stands_between_us_and_a_process():
    hits = [
        where(path, node.lineno, "shell=True")
        for path in PRODUCT
        for node in nodes_of(tree_of(path))
        if isinstance(node, ast.keyword) and node.arg == "shell" and getattr(node.value, "value", False)
    ]
    assert not hits, places(hits, "a shell would read names that users chose:")


def test_the_client_imports_the_standard_library_alone():
    hits = []
    for path in sources("monitor/client"):
        for found in imports(tree_of(path)):
            root = found.name.partition(".")[0]
            if root not in sys.stdlib_module_names and not inside(found.name, "monitor.client"):
                hits.append(where(path, found.line, found.name))
    assert not hits, places(hits, "the client runs on devices, without our dependencies:")


def test_files_hold_one_idea_each():
    hits = []
    for path in sources("monitor", "dashboards", "demo"):
        lines = len(path.read_text().splitlines())
        if lines > LONGEST_FILE and path.relative_to(ROOT).as_posix() not in LISTS:
            hits.append(f"{path.relative_to(ROOT)}: {lines} lines")
    assert not hits, places(hits, f"more than {LONGEST_FILE} lines hold more than one idea; split them:")


def test_sources_name_no_place_outside_the_repository():
    hits = []
    for path in sources("monitor", "dashboards", "demo", "migrations", "tests"):
        if path == Path(__file__):
            continue
        hits += [
            where(path, number, line.strip()[:80])
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if any(outside in line for outside in ("/home/", "/root/"))
        ]
    assert not hits, places(hits, "a clean clone has none of these:")


def test_every_package_that_is_imported_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^A-Za-z0-9._-]", one)[0].lower().replace("-", "_") for one in declared["dependencies"]}
    names |= {"evidently", "pandas", "apprise"}  # of extras, each imported in a process of its own
    names |= {"yaml"} & {name.removeprefix("py") for name in names}  # PyYAML is imported under another name
    names |= {"opentelemetry", "google"}  # of opentelemetry-proto and protobuf
    names |= {"evidently", "pandas"}  # of the extra `reports`, imported in its process alone
    names |= {"backports", "compression"}  # backports.zstd, which Python has as compression.zstd from 3.14 on
    names |= {
        "evidently",
        "pandas",
        "apprise",
        "fsspec",
        "weasyprint",
    }  # of extras, each imported in a process of its own
    hits = []
    for path in sources("monitor", "dashboards", "migrations"):
        for found in imports(tree_of(path)):
            root = found.name.partition(".")[0]
            if root not in sys.stdlib_module_names | names | {"monitor", "dashboards", "migrations"}:
                hits.append(where(path, found.line, root))
    assert not hits, places(hits, "these come in through other packages only; name them in pyproject.toml:")


HEAVY = ("scipy", "pandas", "sklearn", "evidently", "matplotlib")


@pytest.mark.parametrize("module", ["monitor.app", "monitor.api", "monitor.cli"])
def test_importing_the_server_loads_nothing_heavy(module: str):
    if not (ROOT / (module.replace(".", "/") + ".py")).exists() and not (ROOT / module.replace(".", "/")).is_dir():
        pytest.fail(f"{module} is missing")
    code = f"import {module}, sys; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), f"importing {module} loads {done.stdout.strip()}: import it where it is used"
