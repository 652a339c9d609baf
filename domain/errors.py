"""The closed set of errors. Each says whether the caller, the operator or we must act.

The HTTP status belongs to the error, because Nova's and Placement's tables fix it; see
https://docs.openstack.org/api-guide/compute/faults.html.
"""


class LightcurveError(Exception):
    """Anything the system refuses or fails to do, with a message fit for the caller."""

    status = 500
    code = "error"
    retry_after: int | None = None
    """Seconds after which it makes sense to ask again, where that is known."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(LightcurveError):
    """What was asked makes no sense; asking again unchanged will not help."""

    status = 400
    code = "invalid"


class Refused(LightcurveError):
    """What was asked makes sense, but a rule forbids it now. ``code`` is stable."""

    def __init__(self, code: str, message: str, *, status: int = 409, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after = retry_after


def not_found(noun: str, name: str) -> Refused:
    """A refusal for something that is not there, or that the caller must not know of."""
    return Refused(f"{noun.lower()}.not_found", f"{noun} {name} could not be found.", status=404)


class Stale(LightcurveError):
    """Somebody else was quicker: load again and decide again."""

    status = 409
    code = "stale"


class NoCapacity(LightcurveError):
    """No host can take the request; ``removed`` counts the hosts that each rule took out."""

    status = 409
    code = "no_valid_host"

    def __init__(self, message: str, removed: dict[str, int] | None = None) -> None:
        super().__init__(message)
        self.removed = removed or {}


class Unavailable(LightcurveError):
    """A part that is needed does not answer now; the same request may succeed later."""

    status = 503
    code = "unavailable"


class InLine(Unavailable):
    """Others come first: it will be this one's turn, too, if it is asked again so soon."""

    retry_after = 2


class OutOfOrder(Unavailable):
    """The history of one thing cannot be read or folded by this program: it is left as it is, and all else goes on.
    ``lightcurve status`` names it to the operator."""

    code = "out_of_order"


class Bug(LightcurveError):
    """We made a mistake; the logs have the traceback."""

    status = 500
    code = "bug"


class HostFailed(LightcurveError):
    """A host could not do what it was told. ``message`` is fit for the tenant and names no host, path
    or traceback; ``details`` is for the administrator."""

    status = 500
    code = "host_failed"

    def __init__(self, message: str, details: str = "") -> None:
        super().__init__(message)
        self.details = details
