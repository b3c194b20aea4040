"""What went wrong between us and an OpenStack API, as values with a class."""

import json
import math
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from slurm_powersave.decide.node.failure_policy import classify_answer
from slurm_powersave.model.cloud_facts import Asked
from slurm_powersave.model.errors import CloudError, FailureClass

LONGEST_WAIT = 300.0
"""Seconds of a Retry-After that are believed."""
_TEXT = 400
_TODO = {
    FailureClass.AUTH: "Check the credentials (clouds.yaml, or the RC file's variables) and the role.",
    FailureClass.QUOTA: "Ask the cloud's operator for more, or delete what is not needed.",
}


def of_answer(status: int, headers: Mapping[str, str], text: str, where: str) -> CloudError:
    """Make the error of an answer that is none we wanted."""
    said = message(text) or f"status {status}"
    request = headers.get("x-openstack-request-id") or headers.get("x-compute-request-id") or ""
    failure = classify_answer(status, said)
    error = CloudError(
        f"the cloud answered {status}",
        failure=failure,
        where=where,
        why=f"{said} [{request}]" if request else said,
        todo=_TODO.get(failure, ""),
    )
    error.status = status
    error.retry_after = retry_after(headers)
    return error


def of_exception(problem: Exception, where: str) -> CloudError:
    """Make the error of a call without an answer, from what openstacksdk, keystoneauth or requests raised."""
    from keystoneauth1 import exceptions as keystone
    from openstack import exceptions as sdk

    before = problem.__context__
    if isinstance(problem, keystone.DiscoveryFailure) and isinstance(
        before, keystone.ConnectionError | keystone.HttpError
    ):
        # "Could not find versioned identity endpoints" hides why.
        return of_exception(before, where)
    if isinstance(problem, keystone.HttpError):
        response = getattr(problem, "response", None)
        headers = dict(response.headers) if response is not None else {}
        text = response.text if response is not None else str(problem)
        return of_answer(problem.http_status, _lower(headers), text, where)
    what, failure = "the cloud did not answer", FailureClass.UNKNOWN
    if isinstance(problem, keystone.SSLError):
        what, failure = "the cloud's certificate is not trusted", FailureClass.CONFIG
    elif isinstance(problem, keystone.ConnectTimeout):
        what = "the cloud did not answer in time"
    elif isinstance(problem, keystone.ConnectionError):
        what = "the cloud could not be reached"
    elif isinstance(problem, keystone.CatalogException | sdk.ServiceDisabledException):
        what, failure = "the cloud has no such service for us", FailureClass.CONFIG
    elif isinstance(problem, sdk.NotSupported | sdk.ServiceDiscoveryException):
        # openstacksdk could not read the versions, and does not say why.
        what = "the service does not tell its versions"
    elif isinstance(problem, keystone.AuthPluginException | sdk.ConfigException):
        what, failure = "no usable credentials were found", FailureClass.AUTH
    error = CloudError(
        what, failure=failure, where=where, why=_short(str(problem)), todo=_TODO.get(failure, "")
    )
    error.__cause__ = problem
    return error


def asked(error: CloudError) -> Asked:
    """Say with what a call met, for the pre-flight."""
    if error.status == 401 or (not error.status and error.failure is FailureClass.AUTH):
        return Asked.CREDENTIALS
    if error.status == 403:
        return Asked.ROLE
    if error.status or error.what == "the cloud has no such service for us":
        return Asked.SERVICE
    return Asked.REACH


def message(text: str) -> str:
    """Find what a body says: the services wrap it in JSON, each otherwise; proxies answer in HTML."""
    try:
        found = _message(json.loads(text))
    except (ValueError, RecursionError):
        found = re.sub(r"<(title|style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.I | re.S)
    return _short(found)


def _message(body: Any) -> str:
    """Nova: {"forbidden": {"message": ...}}, Neutron: {"NeutronError": {...}}, Glance: {"message": ...}."""
    if not isinstance(body, dict):
        return str(body)
    for part in (body, *body.values()):
        if isinstance(part, dict) and isinstance(part.get("message"), str):
            return str(part["message"])
    return next((part for part in body.values() if isinstance(part, str)), json.dumps(body))


def retry_after(headers: Mapping[str, str]) -> float:
    """Read Retry-After: seconds, or a date (RFC 9110, 10.2.3); 0 if there is none."""
    given = headers.get("retry-after", "").strip()
    if not given:
        return 0.0
    try:
        seconds = float(given)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
        except ValueError:
            return 0.0
    # No comparison is true of NaN: the service would never be asked again.
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_WAIT)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _short(text: str) -> str:
    clean = " ".join(text.split())
    return clean if len(clean) <= _TEXT else clean[: _TEXT - 3] + "..."
