"""Snapshots: what an image consists of, and what is refused. Real overlays: tests/e2e/test_local_cloud.py."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from local_cloud import images
from local_cloud.clean import clean
from local_cloud.errors import CloudFault
from local_cloud.store import Store, write_json


@pytest.fixture
def store(tmp_path: Path) -> Store:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/slurm-powersave-image").touch()
    made = Store(tmp_path / "cloud")
    made.prepare()
    settings = {"bridge": "br", "subnet": "10.0.0.0/16", "images": {"default": str(tree)}}
    write_json(made.root / "cloud.json", settings)
    return made


def server(store: Store, server_id: str, image: str, **files: str) -> Path:
    """Make a server that is off, with these files on its disk; return its disk."""
    upper = store.servers / server_id / "upper"
    upper.mkdir(parents=True)
    for name, text in files.items():
        (upper / name).write_text(text)
    store.write({"id": server_id, "name": f"n-{server_id}", "image": image, "image_path": store.image(image)})
    return upper


def test_an_image_is_the_disk_over_the_same_tree(store: Store, tmp_path: Path) -> None:
    upper = server(store, "a", "default", program="new")
    made = images.snapshot(store, "a", "gold", properties={"role": "node"})
    (upper / "program").write_text("newer")
    assert store.image("gold") == f"{store.root}/images/gold/0:{tmp_path}/tree"
    assert (store.root / "images/gold/0/program").read_text() == "new"
    assert images.listed(store) == [made]
    assert made["properties"] == {"role": "node"} and made["server"] == "n-a" and made["size"] > 0


def test_an_image_of_an_image_needs_no_other_image(store: Store, tmp_path: Path) -> None:
    server(store, "a", "default", one="1")
    images.snapshot(store, "a", "first")
    server(store, "b", "first", two="2")
    images.snapshot(store, "b", "second")
    second = f"{store.root}/images/second"
    assert store.image("second") == f"{second}/0:{second}/1:{tmp_path}/tree"
    with pytest.raises(CloudFault, match="in use by n-b") as caught:
        images.delete(store, "first")
    assert caught.value.kind == "conflict"
    subprocess.run(["rm", "-r", store.servers / "b"], check=True)
    images.delete(store, "first")
    assert Path(second, "1/one").read_text() == "1"
    with pytest.raises(CloudFault, match="could not be found"):
        store.image("first")


@pytest.mark.root
def test_what_a_layer_hides_is_not_kept(store: Store) -> None:
    lower = server(store, "a", "default", key="secret", link="x", stays="1")
    for name in ("replaced", "emptied"):
        (lower / name).mkdir()
        (lower / name / "old").touch()
    images.snapshot(store, "a", "first")
    upper = server(store, "b", "first", link="y")
    os.mknod(upper / "key", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(upper / "replaced", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    (upper / "emptied").mkdir()
    os.setxattr(upper / "emptied", "trusted.overlay.opaque", b"y")
    images.snapshot(store, "b", "second")
    second = store.root / "images/second"
    assert [path.name for path in (second / "1").rglob("*")] == ["stays"]
    assert (second / "0/key").is_char_device(), "the tree may have one, too"
    assert os.getxattr(second / "0/emptied", "trusted.overlay.opaque") == b"y"
    assert (store.root / "images/first/0/key").read_text() == "secret"


def test_too_many_layers_are_refused(store: Store) -> None:
    upper = server(store, "a", "default")
    record = store.read("a") or {}
    store.write({**record, "image_path": ":".join([str(upper)] * 60)})
    with pytest.raises(CloudFault, match="60 layers"):
        images.snapshot(store, "a", "deep")
    assert images.listed(store) == []


@pytest.mark.parametrize("name", ["", ".", "..", ".new-x", "a/b", "a:b", "a,b", "-rf", "a b", "x" * 65])
def test_a_name_is_no_path_and_no_option(store: Store, name: str) -> None:
    server(store, "a", "default")
    with pytest.raises(CloudFault, match="no name of an image"):
        images.snapshot(store, "a", name)
    assert store.snapshot(name) is None


@pytest.mark.parametrize("name", ["default", "gold"])
def test_a_name_has_one_image(store: Store, name: str) -> None:
    server(store, "a", "default")
    images.snapshot(store, "a", "gold")
    with pytest.raises(CloudFault, match=f"an image {name} already"):
        images.snapshot(store, "a", name)


def test_what_a_killed_snapshot_left_is_no_image_and_in_nobodys_way(store: Store) -> None:
    server(store, "a", "default", whole="1")
    left = store.snapshots / ".new-gold/0"
    left.mkdir(parents=True)
    (left / "half").touch()
    assert images.listed(store) == []
    images.snapshot(store, "a", "gold")
    assert [path.name for path in (store.snapshots / "gold/0").iterdir()] == ["whole"]


def test_properties_are_added(store: Store) -> None:
    server(store, "a", "default")
    images.snapshot(store, "a", "gold", properties={"role": "builder", "base": "default"})
    images.set_properties(store, "gold", {"role": "node"})
    assert (store.snapshot("gold") or {})["properties"] == {"role": "node", "base": "default"}


def test_an_unknown_image_or_server_is_said(store: Store) -> None:
    for call in (
        lambda: images.delete(store, "none"),
        lambda: images.set_properties(store, "none", {}),
        lambda: images.snapshot(store, "none", "gold"),
    ):
        with pytest.raises(CloudFault) as caught:
            call()
        assert caught.value.kind == "not-found"


def test_clean_removes_images(store: Store) -> None:
    server(store, "a", "default")
    images.snapshot(store, "a", "gold")
    assert f"removed {store.root}/images" in clean(store.root)
    assert not store.root.exists()
