"""Small charts of a line's height as inline SVG, drawn on the server: they need no script and print well."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, GAP = 150, 30, 1
BAR = 16


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


def spark_line(values: Sequence[float | None], sentence: str) -> Markup:
    """A line through the values, oldest first, with a gap where there is none and a dot at the last one.

    Args:
        values: measured numbers per window, at most about 60; the scale goes from the lowest to the highest.
        sentence: what a screen reader says.
    """
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    step, room = WIDTH / max(len(values), 1), HEIGHT - 6
    scale = room / (high - low) if high > low else 0.0
    pieces: list[list[str]] = [[]]
    last = ""
    for index, value in enumerate(values):
        if value is None:
            pieces.append([])
            continue
        x, y = (index + 0.5) * step, HEIGHT - 3 - ((value - low) * scale if scale else room / 2)
        pieces[-1].append(f"{x:.1f} {y:.1f}")
        last = f'<path class="dot" d="M{x:.1f} {y:.1f}h0"/>'
    path = "".join(f"M{'L'.join(piece)}{'h0' if len(piece) == 1 else ''}" for piece in pieces if piece)
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}</svg>'
    ).format(WIDTH, HEIGHT, sentence, Markup(f'<path d="{path}"/>{last}' if path else ""))  # noqa: S704 - numbers only


def span_bar(low: float | None, value: float | None, high: float | None, sentence: str) -> Markup:
    """An interval about nothing: a line at zero in the middle, a bar from low to high, a dot at the value."""
    reach = max((abs(one) for one in (low, value, high) if one is not None), default=0.0) or 1.0

    def place(at: float) -> float:
        return WIDTH / 2 + at / reach * (WIDTH / 2 - 6)

    parts = f'<path class="zero" d="M{WIDTH / 2} 1V{BAR - 1}"/>'
    if low is not None and high is not None:
        parts += f'<path class="range" d="M{place(low):.1f} {BAR / 2}H{place(high):.1f}"/>'
    if value is not None:
        parts += f'<path class="dot" d="M{place(value):.1f} {BAR / 2}h0"/>'
    return Markup('<svg class="spark span" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH,
        BAR,
        sentence,
        Markup(parts),  # noqa: S704 - numbers only
    )
