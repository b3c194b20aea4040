# The nodes of one shard on OpenStack: one resource, one map. An empty map is legal.
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

resource "openstack_compute_instance_v2" "node" {
  for_each = var.nodes

  name              = each.key
  image_id          = each.value.image_id
  flavor_id         = each.value.flavor_id
  availability_zone = each.value.zone == "" ? null : each.value.zone
  key_pair          = var.base.key_pair
  security_groups   = var.base.security_groups
  force_delete      = try(var.cloud.force_delete, false)

  tags = [
    "slurm-powersave",
    "cluster=${var.cluster}",
    "pool=${each.value.pool}",
    "node=${each.key}",
    "shard=${each.value.shard}",
    "operation=${each.value.operation}",
  ]

  network {
    uuid        = var.base.network_id
    fixed_ip_v4 = each.value.address
  }

  dynamic "scheduler_hints" {
    for_each = compact([try(var.base.server_group_id, "")])
    content {
      group = scheduler_hints.value
    }
  }

  timeouts {
    create = try(var.cloud.timeouts.create, "20m")
    update = try(var.cloud.timeouts.update, "20m")
    delete = try(var.cloud.timeouts.delete, "10m")
  }

  lifecycle {
    # Tags say which operation made the server; a later operation on the node is no change of it. The group counts
    # when a server is placed: a new group must not replace nodes, nor must an import, which can't read it.
    ignore_changes = [tags, scheduler_hints]
  }
}
