"""The HTML of a mail: one small page without anything that has to be fetched. Every name in it is escaped."""

from jinja2 import Environment, PackageLoader

from monitor.alerts.message import Message

COLOURS = {"critical": "#b3261e", "warning": "#b3590b"}
CALM = "#1c7a4a"
PLAIN = "#33475b"

_TEMPLATES = Environment(loader=PackageLoader("monitor.alerts"), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def html_text(message: Message, picture: str | None, picture_words: str) -> str:
    """The page; `picture` is the address of the chart inside the mail, None without one."""
    colour = CALM if message.state == "resolved" else COLOURS.get(message.severity, PLAIN)
    return _TEMPLATES.get_template("mail.html").render(
        message=message, colour=colour, picture=picture, picture_words=picture_words
    )
