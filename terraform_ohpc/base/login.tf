# The login node, where slurmctld runs. A port of its own: its address outlives the server, and may have a floating IP.
resource "openstack_networking_port_v2" "login" {
  name               = var.login.name
  network_id         = local.network_id
  security_group_ids = [openstack_networking_secgroup_v2.cluster.id]
  tags               = concat(local.tags, ["role=login"])

  fixed_ip {
    subnet_id  = local.subnet_id
    ip_address = var.login.address
  }
}

resource "openstack_compute_instance_v2" "login" {
  name              = var.login.name
  image_id          = var.login.image_id == "" ? null : var.login.image_id
  image_name        = var.login.image_id == "" ? var.login.image : null
  flavor_id         = var.login.flavor_id == "" ? null : var.login.flavor_id
  flavor_name       = var.login.flavor_id == "" ? var.login.flavor : null
  availability_zone = try(coalesce(var.cloud.login_zone), null)
  key_pair          = openstack_compute_keypair_v2.cluster.name
  force_delete      = try(var.cloud.force_delete, false)
  tags              = concat(local.tags, ["role=login"])

  network {
    port = openstack_networking_port_v2.login.id
  }

  timeouts {
    create = local.timeouts.create
    update = local.timeouts.update
    delete = local.timeouts.delete
  }

  lifecycle {
    # Slurm's state is on this disk: a new image of the same name must not rebuild it.
    ignore_changes = [image_id, image_name]
  }
}

resource "openstack_networking_floatingip_v2" "login" {
  count = try(var.cloud.floating_ip, false) ? 1 : 0

  pool       = local.external
  port_id    = openstack_networking_port_v2.login.id
  tags       = concat(local.tags, ["role=login"])
  depends_on = [openstack_networking_router_interface_v2.cluster]
}
