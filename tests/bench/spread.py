"""Several measurements of one thing, in short."""

import statistics


def spread(values: list[float], digits: int = 2) -> dict[str, float]:
    """Return count, least, median and greatest of some seconds."""
    return {
        "n": len(values),
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }
