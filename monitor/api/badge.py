"""The state of a model as a small picture, to stand in a README, a wiki or a wall: SVG without script or style sheet.

A picture cannot send a key in a header. It comes by a shared link of the model's page (`/shared/TOKEN/badge.svg`), or
from a server that has a read key.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from markupsafe import Markup
from starlette.responses import Response

from monitor import clock
from monitor.api.deps import Ctx
from monitor.evaluate.health import health
from monitor.store import catalog
from monitor.store.session import reading

router = APIRouter(tags=["models"])

WORDS = {  # state -> as it is told, and a colour on which white is legible (at least 4.5 to 1)
    "healthy": ("healthy", "#00775a"),
    "warning": ("warning", "#955f00"),
    "critical": ("critical", "#b03a00"),
    "no_data": ("no data", "#5b6773"),
    "learning": ("learning", "#0068a8"),
}
LONGEST = 40  # letters of a name that are drawn
_LETTER, _EDGE = 7, 6  # pixels: a letter of 11 pixels at most, and the space beside a text

_SVG = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="{all}" height="20" role="img" aria-label="{label}: {word}">'
    '<title>{label}: {word}</title><rect width="{all}" height="20" rx="3" fill="#3b4450"/>'
    '<path d="M{left} 0h{inner}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{inner}z" fill="{colour}"/>'
    '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
    '<text x="{x1}" y="14" textLength="{w1}" lengthAdjust="spacingAndGlyphs">{shown}</text>'
    '<text x="{x2}" y="14" textLength="{w2}" lengthAdjust="spacingAndGlyphs">{word}</text></g></svg>'
)


def draw(label: str, state: str) -> str:
    """The badge: a label and the word of a state."""
    word, colour = WORDS.get(state, (state.replace("_", " "), "#5b6773"))
    shown = label if len(label) <= LONGEST else label[: LONGEST - 1] + "…"
    left, right = (_LETTER * len(text) + 2 * _EDGE for text in (shown, word))
    places = {
        "all": left + right,
        "left": left,
        "inner": right - 3,
        "x1": left / 2,
        "w1": left - 2 * _EDGE,
        "x2": left + right / 2,
        "w2": right - 2 * _EDGE,
    }
    return str(_SVG.format(label=label, shown=shown, word=word, colour=colour, **places))


@router.get("/v1/models/{model}/badge.svg", response_class=Response)
def badge(
    ctx: Ctx,
    model: str,
    label: Annotated[str | None, Query(max_length=100, description="what stands before the state")] = None,
) -> Response:
    """The state of a model as a picture (SVG)."""
    with reading(ctx.engine) as connection:
        found = catalog.get_model(connection, ctx.principal.project_id, model)
        state = health(connection, found, catalog.model_now(connection, found, clock.now())).state
    return Response(draw(label or found.name, state), media_type="image/svg+xml")
