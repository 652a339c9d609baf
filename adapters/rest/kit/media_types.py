"""Which media types a caller takes. RFC 9110, section 12.5.1."""


def accepts(header: str, media_type: str, before: str = "") -> bool:
    """Whether an Accept header takes a media type; and if ``before`` is given, likes that no better."""
    quality = _quality(header, media_type)
    return quality > 0 and (not before or quality > _quality(header, before))


def _quality(header: str, media_type: str) -> float:
    best: tuple[int, float] = (-1, 0.0)
    for part in header.split(","):
        pattern, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if pattern not in (media_type, media_type.split("/", maxsplit=1)[0] + "/*", "*/*"):
            continue
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        best = max(best, (2 - pattern.count("*"), quality))
    return best[1]
