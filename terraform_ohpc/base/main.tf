# What the nodes of a cluster share, and its login node.
#
# Credentials never stand here: they come from clouds.yaml (the setting `cloud`, or OS_CLOUD), or from the OS_*
# variables of an RC file or an application credential.
terraform {
  required_version = ">= 1.5"
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = ">= 3.4.0, < 4.0.0" # from 3.4.0 on a changed image_id is a rebuild in place
    }
  }
}

provider "openstack" {
  cloud       = try(coalesce(var.cloud.cloud), null)
  region      = try(coalesce(var.cloud.region), null)
  max_retries = 5 # of requests that the API answers with 429, or not at all
}

locals {
  name         = "slurm-powersave-${var.cluster}"
  tags         = ["slurm-powersave", "cluster=${var.cluster}"]
  external     = try(coalesce(var.cloud.external_network), "")
  server_group = try(coalesce(var.cloud.server_group), "")
  shared       = try(var.cloud.shared_storage, null)
  timeouts = {
    create = try(var.cloud.timeouts.create, "20m")
    update = try(var.cloud.timeouts.update, "20m")
    delete = try(var.cloud.timeouts.delete, "10m")
  }
}

resource "openstack_compute_keypair_v2" "cluster" {
  name       = local.name
  public_key = var.key_pair
}

resource "openstack_compute_servergroup_v2" "nodes" {
  count = local.server_group == "" ? 0 : 1

  name     = local.name
  policies = [local.server_group]
}
