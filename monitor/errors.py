"""Everything Keepwatch raises on purpose.

KeepwatchError                     one line that says what is wrong and what to do
├── Problem                        becomes an RFC 9457 answer; `status` and `title` stand on the class
│   ├── Unreadable            400
│   ├── Unauthorized          401
│   ├── Forbidden             403
│   ├── NotFound              404
│   ├── NotAllowed            405  `allow`: the methods that the address knows
│   ├── Conflict              409
│   ├── TooLarge              413
│   ├── UnsupportedEncoding   415
│   ├── Invalid               422  `errors`: a list of {"field", "detail"}
│   ├── QuotaExceeded         429  `retry_after`
│   └── Overloaded            503  `retry_after`
└── SetupError                     the installation is not right: settings, schema, files (commands exit with 2)
"""

from collections.abc import Sequence


class KeepwatchError(Exception):
    """The root: str(error) is fit to be shown to a person."""


class SetupError(KeepwatchError):
    """The installation, a setting or a file is not right."""


class Problem(KeepwatchError):
    """An error with an HTTP status. `detail` never contains what the client sent."""

    status = 500
    title = "Something went wrong"

    def __init__(
        self,
        detail: str,
        *,
        errors: list[dict[str, str]] | None = None,
        retry_after: int | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []
        self.retry_after = retry_after
        self.allow = allow


class Unreadable(Problem):
    status, title = 400, "The body could not be read"


class Unauthorized(Problem):
    status, title = 401, "A key is needed"


class Forbidden(Problem):
    status, title = 403, "This key may not do that"


class NotFound(Problem):
    status, title = 404, "Not found"


class NotAllowed(Problem):
    status, title = 405, "This route does not know that method"


class Conflict(Problem):
    status, title = 409, "In conflict with what is stored"


class TooLarge(Problem):
    status, title = 413, "The body is too large"


class UnsupportedEncoding(Problem):
    status, title = 415, "This content type or encoding is not read here"


class Invalid(Problem):
    status, title = 422, "The content is not valid"

    @classmethod
    def field(cls, field: str, detail: str) -> "Invalid":
        return cls(f"{field}: {detail}", errors=[{"field": field, "detail": detail}])


class QuotaExceeded(Problem):
    status, title = 429, "Too many requests from this client"


class Overloaded(Problem):
    status, title = 503, "The service cannot take this now"
