output "nodes" {
  description = "What the engine needs to know of each server. The host key is read from the server's console."
  value = {
    for name, server in openstack_compute_instance_v2.node : name => {
      id       = server.id
      address  = server.access_ip_v4
      host_key = ""
    }
  }
}
