# The nodes of one shard on the local cloud: one resource, one map. An empty map is legal.
terraform {
  required_version = ">= 1.5"
  required_providers {
    localcloud = {
      source  = "slurm-powersave.internal/demo/localcloud"
      version = "~> 0.1"
    }
  }
}

provider "localcloud" {
  root   = var.cloud.root
  images = try(var.cloud.images, {})
}

resource "localcloud_server" "node" {
  for_each = var.nodes

  name              = each.key
  image_id          = each.value.image
  flavor_id         = each.value.flavor
  availability_zone = each.value.zone == "" ? null : each.value.zone
  key_pair          = var.key_pair

  tags = [
    "slurm-powersave",
    "cluster=${var.cluster}",
    "pool=${each.value.pool}",
    "node=${each.key}",
    "shard=${each.value.shard}",
    "operation=${each.value.operation}",
  ]

  network {
    name        = var.cloud.bridge
    fixed_ip_v4 = each.value.address
  }

  lifecycle {
    # Tags say which operation made the server; a later operation on the node is no change of it.
    ignore_changes = [tags]
  }
}
