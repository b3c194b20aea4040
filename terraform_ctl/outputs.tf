output "address" {
  description = "Where its SSH is."
  value       = local.public ? openstack_networking_floatingip_v2.control[0].address : openstack_networking_port_v2.control.all_fixed_ips[0]
}

output "server_id" {
  description = "Its id; `openstack console log show ID` shows its SSH host keys."
  value       = openstack_compute_instance_v2.control.id
}

output "cluster_settings" {
  description = "For clouds.NAME.settings of the cluster file: the same network, and SSH from here alone."
  value = {
    cloud            = "openstack"
    network_id       = local.network_id
    subnet_id        = local.subnet_id
    external_network = var.external_network
    ssh_from         = [for address in openstack_networking_port_v2.control.all_fixed_ips : "${address}/32"]
  }
}

output "clouds_yaml" {
  description = "The engine's clouds.yaml. Hand it over by SSH; nowhere else does it belong."
  sensitive   = true
  value = !var.application_credential ? "" : yamlencode({
    clouds = {
      openstack = merge(
        {
          auth_type = "v3applicationcredential"
          auth = {
            auth_url                      = var.auth_url
            application_credential_id     = openstack_identity_application_credential_v3.engine[0].id
            application_credential_secret = openstack_identity_application_credential_v3.engine[0].secret
          }
        },
        var.region == "" ? {} : { region_name = var.region },
      )
    }
  })
}
