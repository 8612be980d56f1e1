"""`python -m dashboards.pdf_child`: HTML on standard input, PDF on standard output.

A process of its own: the renderer takes a second to import, and what it reads comes from people. It fetches nothing:
every address in the document is refused.
"""

import sys
from typing import NoReturn

from weasyprint import HTML


def refuse(url: str, *_: object, **__: object) -> NoReturn:
    """What is asked for every address."""
    raise ValueError("a report fetches nothing")


if __name__ == "__main__":
    sys.stdout.buffer.write(HTML(string=sys.stdin.buffer.read().decode(), url_fetcher=refuse).write_pdf())
