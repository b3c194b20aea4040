# An optional server for shared storage; with a size its data lies on a volume that outlives the server.
resource "openstack_networking_port_v2" "storage" {
  count = local.shared == null ? 0 : 1

  name               = "${var.cluster}-storage"
  network_id         = local.network_id
  security_group_ids = [openstack_networking_secgroup_v2.cluster.id]
  tags               = concat(local.tags, ["role=storage"])

  fixed_ip {
    subnet_id  = local.subnet_id
    ip_address = local.shared.address
  }
}

resource "openstack_compute_instance_v2" "storage" {
  count = local.shared == null ? 0 : 1

  name         = "${var.cluster}-storage"
  image_name   = local.shared.image
  flavor_name  = local.shared.flavor
  key_pair     = openstack_compute_keypair_v2.cluster.name
  force_delete = try(var.cloud.force_delete, false)
  tags         = concat(local.tags, ["role=storage"])

  network {
    port = openstack_networking_port_v2.storage[0].id
  }

  timeouts {
    create = local.timeouts.create
    update = local.timeouts.update
    delete = local.timeouts.delete
  }

  lifecycle {
    ignore_changes = [image_id, image_name]
  }
}

resource "openstack_blockstorage_volume_v3" "storage" {
  count = try(local.shared.size, null) == null ? 0 : 1

  name     = "${local.name}-storage"
  size     = local.shared.size
  metadata = { cluster = var.cluster, slurm-powersave = "storage" }
}

resource "openstack_compute_volume_attach_v2" "storage" {
  count = try(local.shared.size, null) == null ? 0 : 1

  instance_id = openstack_compute_instance_v2.storage[0].id
  volume_id   = openstack_blockstorage_volume_v3.storage[0].id
}
