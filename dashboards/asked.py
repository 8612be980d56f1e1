"""What the address of a page asks for: parameters, and the values that some of them take.

A page never takes what it does not know for something else. As the API does, it answers 422 and says which parameter,
what is known and what is nearest; mistakes.py shows the error as a page that leads to the same address without it.
What a mail program or a chat adds to a link resembles no parameter, and is passed over.
"""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Query

from monitor.errors import Invalid
from monitor.nearest import nearest
from monitor.store.body import printable

From = Annotated[str | None, Query(alias="from", max_length=40)]
To = Annotated[str | None, Query(max_length=40)]
Range = Annotated[str | None, Query(alias="range", max_length=140)]
Short = Annotated[str | None, Query(max_length=140)]
Search = Annotated[str, Query(max_length=300)]
NEAR = 0.7


def refuse_mistyped(query: bytes, known: Sequence[str]) -> None:
    """Refuse parameters that are none of the page's but nearly: `rnage=30d` would be a page about another stretch.

    Raises:
        Invalid: names each of them and what it resembles.
    """
    given = dict.fromkeys(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    meant = {one: nearest(one, known, NEAR) for one in given if one not in known}
    errors = [
        {"field": printable(name), "detail": f"is not a parameter of this page. Do you mean {near}?"}
        for name, near in meant.items()
        if near
    ]
    if errors:
        raise Invalid(f"{errors[0]['field']}: {errors[0]['detail']}", errors=errors)


def one_of(field: str, text: str | None, known: Sequence[str], more: str = "") -> str | None:
    """The value of a parameter that takes one of `known`; None where none was given, or an empty one as forms send it.

    Args:
        more: what else may be said of the values.

    Raises:
        Invalid: it is none of them.
    """
    if not text:
        return None
    if text in known:
        return text
    near = nearest(text, known, 0.5)
    meant = f". Do you mean {near}?" if near else ""
    raise Invalid.field(field, f"must be one of {', '.join(known)}{more}{meant}")
