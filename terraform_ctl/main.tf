locals {
  tags        = ["slurm-powersave"]
  own_network = var.network_id == ""
  network_id  = local.own_network ? openstack_networking_network_v2.cluster[0].id : var.network_id
  subnet_id   = local.own_network ? openstack_networking_subnet_v2.cluster[0].id : var.subnet_id
  public      = var.floating_ip && var.external_network != ""
}

data "openstack_networking_network_v2" "external" {
  count    = var.external_network == "" ? 0 : 1
  name     = var.external_network
  external = true
}

# ---- The network: made here, it outlives every cluster in it ------------------------------------------------

resource "openstack_networking_network_v2" "cluster" {
  count = local.own_network ? 1 : 0
  name  = var.name
  tags  = local.tags

  lifecycle {
    prevent_destroy = true # clusters have their nodes in it; docs/how-to/control-host.md says how to take it away
  }
}

resource "openstack_networking_subnet_v2" "cluster" {
  count           = local.own_network ? 1 : 0
  name            = var.name
  network_id      = openstack_networking_network_v2.cluster[0].id
  cidr            = var.cidr
  ip_version      = 4
  dns_nameservers = var.dns
  tags            = local.tags

  allocation_pool {
    start = cidrhost(var.cidr, -252)
    end   = cidrhost(var.cidr, -3)
  }
}

resource "openstack_networking_router_v2" "cluster" {
  count               = local.own_network && var.external_network != "" ? 1 : 0
  name                = var.name
  external_network_id = data.openstack_networking_network_v2.external[0].id
  tags                = local.tags
}

resource "openstack_networking_router_interface_v2" "cluster" {
  count     = local.own_network && var.external_network != "" ? 1 : 0
  router_id = openstack_networking_router_v2.cluster[0].id
  subnet_id = openstack_networking_subnet_v2.cluster[0].id
}

# ---- The control host ---------------------------------------------------------------------------------------

resource "openstack_compute_keypair_v2" "control" {
  name       = var.name
  public_key = var.public_key
}

# Nothing but SSH from outside comes in: the engine reaches out, and has no port of its own.
resource "openstack_networking_secgroup_v2" "control" {
  name        = var.name
  description = "SSH to the control host of slurm-powersave"
  tags        = local.tags
}

resource "openstack_networking_secgroup_rule_v2" "ssh" {
  for_each          = toset(var.ssh_from)
  security_group_id = openstack_networking_secgroup_v2.control.id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_ip_prefix  = each.value
}

resource "openstack_networking_port_v2" "control" {
  name               = var.name
  network_id         = local.network_id
  security_group_ids = [openstack_networking_secgroup_v2.control.id]
  tags               = local.tags

  dynamic "fixed_ip" {
    for_each = local.own_network || var.subnet_id != "" ? [local.subnet_id] : []
    content {
      subnet_id = fixed_ip.value
    }
  }
}

resource "openstack_compute_instance_v2" "control" {
  name              = var.name
  image_name        = var.image
  flavor_name       = var.flavor
  availability_zone = var.zone == "" ? null : var.zone
  key_pair          = openstack_compute_keypair_v2.control.name
  user_data         = local.user_data
  tags              = local.tags

  network {
    port = openstack_networking_port_v2.control.id
  }

  # Journal, keys and Terraform's states of the cluster are on its disk. A newer image of the same name, or a newer
  # bootstrap, must not make it anew.
  lifecycle {
    ignore_changes  = [image_id, image_name, user_data, key_pair]
    prevent_destroy = true # docs/how-to/control-host.md says how to take it away
  }

  # Its packages come over the router.
  depends_on = [openstack_networking_router_interface_v2.cluster]
}

resource "openstack_networking_floatingip_v2" "control" {
  count      = local.public ? 1 : 0
  pool       = var.external_network
  port_id    = openstack_networking_port_v2.control.id
  tags       = local.tags
  depends_on = [openstack_networking_router_interface_v2.cluster]
}

# ---- The engine's credential --------------------------------------------------------------------------------

# Instead of a password: it can do in this project what its maker's roles can, and can make no further credentials
# (unrestricted). It ends when it is deleted here.
resource "openstack_identity_application_credential_v3" "engine" {
  count        = var.application_credential ? 1 : 0
  name         = var.name
  description  = "The engine of slurm-powersave on ${var.name}"
  unrestricted = false
  expires_at   = var.credential_expires_at

  lifecycle {
    precondition {
      condition     = var.auth_url != ""
      error_message = "auth_url is needed for the engine's clouds.yaml: set TF_VAR_auth_url=$OS_AUTH_URL, or application_credential=false."
    }
  }
}
