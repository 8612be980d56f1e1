"""States with their word, icon and tone, and the names of the colours that charts use.

A colour is named here and defined in static/app.css for light and for dark; static/app.js puts the value in. The hues
are Okabe and Ito's (2008), which stay apart for people with colour blindness. No state is told by colour alone.
"""

from dataclasses import dataclass

BLUE, ORANGE, PURPLE, SKY = "--blue", "--orange", "--purple", "--sky"
BAND, BAR, QUIET_BAR, ALERT_FILL, ALERT_LINE = "--band", "--bar", "--quiet-bar", "--alert-fill", "--alert-line"

EVENT_LINES = {"deploy": PURPLE, "incident": ORANGE, "known_bad": "--muted"}  # an event's line and its label
EVENT_FILLS = {"deploy": "--band", "incident": ALERT_FILL, "known_bad": QUIET_BAR}

# The heat map's colours stand at fixed values, so that a colour means the same on every page: below 0.1 a PSI is
# commonly read as no shift, from 0.2 on as a clear one.
HEAT_TOP = 0.5
HEAT_STOPS = (
    (0.0, "--heat-0"),
    (0.08, "--heat-0"),
    (0.2, "--heat-1"),
    (0.4, "--heat-2"),
    (0.7, "--heat-3"),
    (1.0, "--heat-4"),
)


@dataclass(frozen=True)
class State:
    """How a state is shown: `tone` is a CSS class, `icon` a symbol of templates/icons.html."""

    word: str
    icon: str
    tone: str


HEALTH = {
    "healthy": State("Healthy", "check", "good"),
    "warning": State("Warning", "triangle", "warn"),
    "critical": State("Critical", "octagon", "bad"),
    "learning": State("Learning", "clock", "info"),
    "no_data": State("No data", "empty", "quiet"),
}
SEVERITY = {
    "critical": State("Critical", "octagon", "bad"),
    "warning": State("Warning", "triangle", "warn"),
    "info": State("Note", "info", "info"),
}
ALERT = {
    "firing": State("Firing", "bell", "bad"),
    "acknowledged": State("Acknowledged", "eye", "info"),
    "resolved": State("Resolved", "check", "good"),
}
DELIVERY = {
    "delivered": State("Delivered", "check", "good"),
    "pending": State("Waiting", "clock", "info"),
    "dead": State("Given up", "octagon", "bad"),
}
NOTIFICATION = {
    "sent": State("Sent", "check", "good"),
    "held": State("Held back", "clock", "info"),
    "dropped": State("Not sent", "empty", "quiet"),
}
SILENCE = {
    "active": State("Active", "bell", "info"),
    "pending": State("To come", "clock", "quiet"),
    "expired": State("Over", "empty", "quiet"),
}
REVOKED = State("Revoked", "octagon", "quiet")  # a shared link
REPORT = {
    "pending": State("Waiting", "clock", "info"),
    "running": State("Running", "clock", "info"),
    "done": State("Done", "check", "good"),
    "failed": State("Failed", "octagon", "bad"),
}
CHANNEL = {
    "on": State("On", "check", "good"),
    "failing": State("Failing", "octagon", "bad"),
    "off": State("Off", "empty", "quiet"),
}
MONITOR = {
    "ok": State("Quiet", "check", "good"),
    "pending": State("Met", "triangle", "warn"),
    "firing": State("Firing", "bell", "bad"),
    "waiting": State("Waiting", "clock", "info"),
}
FINDING = {
    "ok": State("Well", "check", "good"),
    "note": State("Note", "info", "info"),
    "warning": State("Warning", "triangle", "warn"),
    "error": State("Wrong", "octagon", "bad"),
}
UNKNOWN = State("Unknown", "empty", "quiet")
