output "login" {
  description = "What is needed to reach the login node. The host key is read from the server's console."
  value = {
    id             = openstack_compute_instance_v2.login.id
    address        = var.login.address
    public_address = try(openstack_networking_floatingip_v2.login[0].address, "")
    host_key       = ""
  }
}

output "shared" {
  description = "What the nodes' root module is given as `base`. Security groups by name: Nova tells names, so an id would always differ."
  value = {
    network_id      = local.network_id
    subnet_id       = local.subnet_id
    key_pair        = openstack_compute_keypair_v2.cluster.name
    security_groups = [openstack_networking_secgroup_v2.cluster.name]
    server_group_id = try(openstack_compute_servergroup_v2.nodes[0].id, "")
  }
}

output "storage" {
  description = "The server for shared storage: id and address, empty without one."
  value = {
    id      = try(openstack_compute_instance_v2.storage[0].id, "")
    address = try(local.shared.address, "")
  }
}
