"""Calls to OpenStack: pages, and everything that can go wrong on the way, as values with a class."""

import ssl
import subprocess
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.adapters.openstack.errors import asked, message, retry_after
from slurm_powersave.model.cloud_facts import Asked
from slurm_powersave.model.errors import CloudError, FailureClass
from tests.openstack.proxy import QUOTA
from tests.unit.adapters.openstack.lab import SILENCE, World

OURS = frozenset({"cluster=demo"})


def failing(api: Api) -> CloudError:
    """List the servers, which must fail."""
    with pytest.raises(CloudError) as caught:
        api.listed("compute", "/servers/detail", tags="cluster=demo")
    return caught.value


def test_a_list_is_read_page_by_page_and_filtered_in_the_cloud(openstack: World) -> None:
    openstack.cloud.page = 3
    made = [openstack.cloud.add_server(f"n{number}", OURS) for number in range(7)]
    openstack.cloud.add_server("foreign", frozenset())
    found = openstack.api().listed("compute", "/servers/detail", tags="cluster=demo")
    assert [one["id"] for one in found] == made
    pages = openstack.asked("GET", "/servers/detail")
    assert len(pages) == 3 and all("tags=cluster%3Ddemo" in page for page in pages)


def test_images_are_read_page_by_page(openstack: World) -> None:
    openstack.cloud.page = 1
    assert len(openstack.api().listed("image", "/images")) == 2


@pytest.mark.parametrize(
    ("order", "failure", "said", "met"),
    [
        ({"status": 400}, FailureClass.CONFIG, "Invalid input", Asked.SERVICE),
        ({"status": 401}, FailureClass.AUTH, "requires authentication", Asked.CREDENTIALS),
        ({"status": 403}, FailureClass.AUTH, "Policy doesn't allow", Asked.ROLE),
        ({"status": 403, "body": QUOTA}, FailureClass.QUOTA, "already used 10 of 10", Asked.ROLE),
        ({"status": 404}, FailureClass.CONFIG, "could not be found", Asked.SERVICE),
        ({"status": 409}, FailureClass.NODE_LOCAL, "task_state", Asked.SERVICE),
        ({"status": 413}, FailureClass.UNKNOWN, "rate-limited", Asked.SERVICE),
        ({"status": 429}, FailureClass.UNKNOWN, "Too Many", Asked.SERVICE),
        ({"status": 500}, FailureClass.UNKNOWN, "Unexpected API Error", Asked.SERVICE),
        ({"status": 503}, FailureClass.UNKNOWN, "503 Service Unavailable No server", Asked.SERVICE),
    ],
)
def test_an_error_has_a_class_and_the_clouds_words(
    openstack: World, order: dict[str, Any], failure: FailureClass, said: str, met: Asked
) -> None:
    openstack.proxy.order(path="/servers", **order)
    error = failing(openstack.api())
    assert (error.failure, error.status, asked(error)) == (failure, order["status"], met)
    assert said in error.why and "GET /servers/detail" in error.where


def test_a_port_that_refuses(openstack: World) -> None:
    with openstack.proxy.refused("all"):
        error = failing(openstack.api())
    assert (error.failure, error.status, asked(error)) == (FailureClass.UNKNOWN, 0, Asked.REACH)
    assert "could not be reached" in error.what


@pytest.mark.parametrize("path", ["/servers", "/compute", "/auth/tokens", "/identity"])
def test_silence_is_bounded_wherever_it_begins(openstack: World, path: str) -> None:
    openstack.proxy.order(path=path, hang=True)
    before = time.monotonic()
    error = failing(openstack.api())
    took = time.monotonic() - before
    openstack.proxy.calm()
    assert (error.failure, asked(error)) == (FailureClass.UNKNOWN, Asked.REACH)
    assert "in time" in error.what
    # The versions of identity and of the service may be asked for before.
    assert SILENCE <= took < 3 * SILENCE + 2


def test_after_silence_and_refusals_the_same_session_goes_on(openstack: World) -> None:
    api = openstack.api()
    assert api.listed("compute", "/servers/detail") == []
    openstack.proxy.order(path="/servers", hang=True)
    failing(api)
    openstack.proxy.calm()
    with openstack.proxy.refused("all"):
        failing(api)
    assert api.listed("compute", "/servers/detail") == []
    assert len([1 for _, _, path in openstack.proxy.requests if path.endswith("/auth/tokens")]) == 1


def test_a_service_that_wants_to_be_left_alone_is_not_asked(openstack: World) -> None:
    api = openstack.api()
    openstack.proxy.order(path="/servers", status=429, retry_after="1", times=1)
    assert failing(api).retry_after == 1
    count = len(openstack.asked())
    error = failing(api)
    assert (error.status, error.failure) == (429, FailureClass.UNKNOWN) and "not asked again" in error.why
    assert len(openstack.asked()) == count, "it was asked"
    assert api.listed("image", "/images"), "another service is another matter"
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            assert api.listed("compute", "/servers/detail") == []
            break
        except CloudError:
            time.sleep(0.05)
    else:
        pytest.fail("never asked again")


def test_an_old_token_is_renewed(openstack: World) -> None:
    api = openstack.api()
    api.listed("compute", "/servers/detail")
    openstack.proxy.order(path="/servers", status=401, times=1)
    assert api.listed("compute", "/servers/detail") == []


def test_renewed_credentials_are_found_without_a_restart(openstack: World) -> None:
    api = openstack.api()
    openstack.proxy.order(path="/auth/tokens", status=401)
    assert failing(api).failure is FailureClass.AUTH
    openstack.proxy.calm()
    openstack.credentials(username="renewed")
    assert api.listed("compute", "/servers/detail") == []


@pytest.mark.parametrize("settings", [{"cloud": "nonesuch"}, {"region": "Elsewhere"}])
def test_credentials_or_a_region_that_are_not_there(openstack: World, settings: dict[str, Any]) -> None:
    error = failing(openstack.api(**settings))
    assert error.failure is (FailureClass.AUTH if "cloud" in settings else FailureClass.CONFIG)
    assert asked(error) is (Asked.CREDENTIALS if "cloud" in settings else Asked.SERVICE)


def test_without_any_credentials(openstack: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    error = failing(openstack.api(cloud=""))
    assert (error.failure, asked(error)) == (FailureClass.AUTH, Asked.CREDENTIALS)


def test_the_variables_of_an_rc_file(
    openstack: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    auth = yaml.safe_load((tmp_path / "clouds.yaml").read_text())["clouds"]["lab"]["auth"]
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    for name, value in {**auth, "region_name": "RegionOne"}.items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)
    assert openstack.api(cloud="").listed("compute", "/servers/detail") == []


def test_who_we_are(openstack: World) -> None:
    account = openstack.api().account()
    assert (account.user, account.project, account.roles) == ("demo", "demo", {"member"})


def test_a_certificate_that_nobody_trusts(openstack: World, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    argv += ["-keyout", str(key), "-out", str(certificate), "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        openstack.credentials(auth_url=f"https://127.0.0.1:{server.server_address[1]}/v3")
        error = failing(openstack.api())
    finally:
        server.shutdown()
        server.server_close()
    assert (error.failure, asked(error)) == (FailureClass.CONFIG, Asked.REACH)
    assert "certificate" in error.what and "CERTIFICATE_VERIFY_FAILED" in error.why


def test_an_answer_that_is_none(openstack: World) -> None:
    openstack.proxy.order(path="/servers", status=200, body="<h1>Welcome to the proxy</h1>")
    assert "no JSON" in failing(openstack.api()).what
    openstack.proxy.calm()
    openstack.proxy.order(path="/servers", status=200, body={"error": []})
    assert "no list" in failing(openstack.api()).what


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from slurm_powersave import wiring; "
        "from slurm_powersave.adapters.openstack.cloud import OpenStackCloud; "
        "OpenStackCloud('demo', {'cloud': 'lab'}); print('openstack' in sys.modules)"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            '{"NeutronError": {"type": "OverQuota", "message": "Quota exceeded", "detail": ""}}',
            "Quota exc",
        ),
        ('{"error": {"code": 401, "message": "No.", "title": "Unauthorized"}}', "No."),
        ('{"message": "You must be authenticated<br /><br />"}', "You must be authenticated"),
        (
            "<html><head><title>409 Conflict</title></head><body><h1>409 Conflict</h1> Image is in use.",
            "409 Conflict Image",
        ),
        ("[1, 2]", "[1, 2]"),
        ('{"a": 1}', '{"a": 1}'),
        ("", ""),
    ],
)
def test_what_a_body_says(body: str, said: str) -> None:
    assert message(body).startswith(said)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("", 0),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("soon", 0),
        ("99999999", 300),
        ("Sat, 21 Nov 2015 08:00:00 GMT", 0),
    ],
)
def test_retry_after(given: str, seconds: float) -> None:
    assert retry_after({"retry-after": given} if given else {}) == seconds
