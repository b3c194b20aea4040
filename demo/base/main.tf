# The network and the login node of a cluster on the local cloud.
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

resource "localcloud_network" "cluster" {
  name = var.cloud.bridge
  cidr = var.cloud.subnet
}

resource "localcloud_server" "login" {
  name      = var.login.name
  image_id  = var.login.image
  flavor_id = var.login.flavor
  key_pair  = var.key_pair

  tags = [
    "slurm-powersave",
    "cluster=${var.cluster}",
    "role=login",
  ]

  network {
    name        = localcloud_network.cluster.name
    fixed_ip_v4 = var.login.address
  }
}
