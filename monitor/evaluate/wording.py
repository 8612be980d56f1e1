"""How numbers are said to a person."""


def percent(share: float) -> str:
    """A share for a person: 12 %, 0.4 %."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.1f} %" if value >= 0.095 or value == 0 else f"{value:.2g} %"


def number(value: float) -> str:
    """A number for a person: 1,013, 36.1, 0.042."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"
