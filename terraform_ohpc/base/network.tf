# A network of our own with a router to the outside, unless the cluster file names an existing one.
locals {
  own_network = try(coalesce(var.cloud.network_id), "") == ""
  network_id  = local.own_network ? openstack_networking_network_v2.cluster[0].id : var.cloud.network_id
  subnet_id   = local.own_network ? openstack_networking_subnet_v2.cluster[0].id : var.cloud.subnet_id
  cidr        = try(coalesce(var.cloud.cidr), "10.0.0.0/16")
  addresses   = pow(2, 32 - tonumber(split("/", local.cidr)[1]))
  routed      = local.own_network && local.external != ""
}

data "openstack_networking_network_v2" "external" {
  count = local.routed ? 1 : 0

  name     = local.external
  external = true
}

resource "openstack_networking_network_v2" "cluster" {
  count = local.own_network ? 1 : 0

  name           = local.name
  admin_state_up = true
  tags           = local.tags
}

resource "openstack_networking_subnet_v2" "cluster" {
  count = local.own_network ? 1 : 0

  name            = local.name
  network_id      = openstack_networking_network_v2.cluster[0].id
  cidr            = local.cidr
  gateway_ip      = cidrhost(local.cidr, 1)
  dns_nameservers = try(var.cloud.dns, [])
  tags            = local.tags

  # What Neutron gives out by itself (DHCP's own ports) comes from the last quarter; nodes have fixed addresses below.
  allocation_pool {
    start = cidrhost(local.cidr, floor(local.addresses * 3 / 4))
    end   = cidrhost(local.cidr, local.addresses - 2)
  }
}

resource "openstack_networking_router_v2" "cluster" {
  count = local.routed ? 1 : 0

  name                = local.name
  external_network_id = data.openstack_networking_network_v2.external[0].id
  tags                = local.tags
}

resource "openstack_networking_router_interface_v2" "cluster" {
  count = local.routed ? 1 : 0

  router_id = openstack_networking_router_v2.cluster[0].id
  subnet_id = openstack_networking_subnet_v2.cluster[0].id
}

# Nodes talk freely among themselves and to the outside; from outside there is SSH, from the control host only.
resource "openstack_networking_secgroup_v2" "cluster" {
  name        = local.name
  description = "Cluster ${var.cluster}: everything inside, SSH from the control host"
  tags        = local.tags
}

resource "openstack_networking_secgroup_rule_v2" "inside" {
  direction         = "ingress"
  ethertype         = "IPv4"
  remote_group_id   = openstack_networking_secgroup_v2.cluster.id
  security_group_id = openstack_networking_secgroup_v2.cluster.id
}

resource "openstack_networking_secgroup_rule_v2" "ssh" {
  for_each = toset(try(var.cloud.ssh_from, []))

  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_ip_prefix  = each.value
  security_group_id = openstack_networking_secgroup_v2.cluster.id
}
