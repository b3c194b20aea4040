output "nodes" {
  description = "What the engine needs to know of each server; host_key may be empty."
  value = {
    for name, server in localcloud_server.node : name => {
      id       = server.id
      address  = server.access_ip_v4
      host_key = server.host_key
    }
  }
}
