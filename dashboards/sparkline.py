"""A row of small bars as inline SVG, drawn on the server: it needs no script and works in every mail and print."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, GAP = 150, 30, 1


def sparkline(values: Sequence[float | None], sentence: str) -> Markup:
    """Bars of the values, oldest first; None leaves a dot on the ground line.

    Args:
        values: counts per window, at most about 60.
        sentence: what a screen reader says.
    """
    step = WIDTH / max(len(values), 1)
    top = max((value for value in values if value is not None), default=0) or 1
    parts = []
    for index, value in enumerate(values):
        height = 1.0 if not value else max(1.5, value / top * (HEIGHT - 2))
        kind = "none" if not value else "last" if index == len(values) - 1 else "bar"
        parts.append(
            f'<rect class="{kind}" x="{index * step:.1f}" y="{HEIGHT - height:.1f}"'
            f' width="{max(step - GAP, 0.5):.1f}" height="{height:.1f}"/>'
        )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}</svg>'
    ).format(WIDTH, HEIGHT, sentence, Markup("".join(parts)))  # noqa: S704 - numbers only
