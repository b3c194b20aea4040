output "login" {
  description = "What is needed to reach the login node."
  value = {
    id       = localcloud_server.login.id
    address  = localcloud_server.login.access_ip_v4
    host_key = localcloud_server.login.host_key
  }
}
