"""The static files: ours from dashboards/static, Plotly's own script from the installed package.

Each file is read and compressed once a process, at its first request, and served under a URL that carries its version
or a hash of its content, so that browsers may keep it for a year.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from markupsafe import Markup
from starlette.responses import Response

TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
OURS = ("app.css", "app.js", "habits.js", "favicon.svg")
PLOTLY = f"plotly-{version('plotly')}.min.js"
_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file as it is sent: as it is, and in the encodings that browsers take."""

    media_type: str
    plain: bytes
    gzipped: bytes
    brotli: bytes | None


def static_url(name: str) -> str:
    """The path below /static/ of one of our files, with a hash of its content: app.css -> app.3f2a91c0.css."""
    stem, _, ending = name.rpartition(".")
    return f"{stem}.{_digest(name)}.{ending}"


def response(path: str, accepted: str) -> Response | None:
    """The file at /static/{path} in the best encoding of `accepted` (Accept-Encoding); None if there is none."""
    if path != PLOTLY and path not in {static_url(name) for name in OURS}:
        return None
    asset = _load(path)
    encodings = {part.partition(";")[0].strip() for part in accepted.split(",")}
    headers = {"cache-control": _YEAR, "vary": "accept-encoding", "x-content-type-options": "nosniff"}
    if "br" in encodings and asset.brotli is not None:
        return Response(asset.brotli, media_type=asset.media_type, headers={**headers, "content-encoding": "br"})
    if "gzip" in encodings:
        return Response(asset.gzipped, media_type=asset.media_type, headers={**headers, "content-encoding": "gzip"})
    return Response(asset.plain, media_type=asset.media_type, headers=headers)


@lru_cache(maxsize=16)
def text_of(name: str) -> Markup:
    """One of our style sheets, to stand inside a document."""
    return Markup(_read(name).decode())  # noqa: S704 - ours


@lru_cache(maxsize=16)
def _load(path: str) -> Asset:
    if path == PLOTLY:
        content = _plotly_file().read_bytes()
    else:
        content = _read(next(name for name in OURS if static_url(name) == path))
    brotli = pa.Codec("brotli", compression_level=7) if pa.Codec.is_available("brotli") else None
    return Asset(
        media_type=TYPES[Path(path).suffix],
        plain=content,
        gzipped=gzip.compress(content, 6, mtime=0),
        brotli=None if brotli is None else brotli.compress(content, asbytes=True),
    )


def _plotly_file() -> Path:
    """Plotly's script beside its Python package; importing the package is not needed, and slow."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package plotly is not installed")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


@lru_cache(maxsize=16)
def _digest(name: str) -> str:
    return hashlib.sha256(_read(name)).hexdigest()[:8]


def _read(name: str) -> bytes:
    return (files("dashboards") / "static" / name).read_bytes()
