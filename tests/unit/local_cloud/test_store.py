"""Files, locks, images."""

import threading
from pathlib import Path

import pytest
from local_cloud.errors import CloudFault
from local_cloud.store import Store, write_json


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cloud", {"default": str(tmp_path / "image")})
    made.prepare()
    write_json(made.root / "cloud.json", {"bridge": "br", "subnet": "10.0.0.0/16", "images": {}})
    return made


def test_a_lock_holds_between_threads(store: Store) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        with store.lock("names"):
            inside.append(1)
            most.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_a_held_lock_is_seen_and_waited_for_so_long(store: Store) -> None:
    assert not store.locked("id")
    with store.lock("id"):
        assert store.locked("id")
        with pytest.raises(CloudFault, match="was held"), store.lock("id", timeout=0.02):
            pass
    assert not store.locked("id")


def test_there_is_no_lock_where_there_is_no_cloud(tmp_path: Path) -> None:
    with pytest.raises(CloudFault, match="there is no cloud"), Store(tmp_path / "none").lock("names"):
        pass


def test_images_are_known_by_alias_and_must_be_ours(store: Store, tmp_path: Path) -> None:
    with pytest.raises(CloudFault, match="demo/guests/build"):
        store.image("default")
    (tmp_path / "image/etc").mkdir(parents=True)
    (tmp_path / "image/etc/slurm-powersave-image").touch()
    assert store.image("default") == str(tmp_path / "image")
    assert store.image(str(tmp_path / "image")) == str(tmp_path / "image")
    with pytest.raises(CloudFault, match="neither an absolute path nor a name"):
        store.image("../image")


@pytest.mark.parametrize("server_id", ["", ".", "..", "../..", "a/b"])
def test_a_server_id_is_no_path(store: Store, server_id: str) -> None:
    write_json(store.root / "server.json", {})
    assert store.read(server_id) is None
