variable "cluster" {
  description = "The cluster's name; becomes the tag cluster=NAME."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.cluster))
    error_message = "A cluster's name has 1 to 31 lower case letters, digits and hyphens, and starts with a letter."
  }
}

variable "cloud" {
  description = "The cloud's settings from the cluster file: docs/reference/openstack-settings.md. All are optional."
  type        = any
  default     = {}

  validation {
    condition     = can(cidrhost(try(coalesce(var.cloud.cidr), "10.0.0.0/16"), 1))
    error_message = "cidr is an IPv4 subnet like 10.0.0.0/16."
  }

  validation {
    condition     = (try(coalesce(var.cloud.network_id), "") == "") == (try(coalesce(var.cloud.subnet_id), "") == "")
    error_message = "An existing network wants both network_id and subnet_id."
  }

  validation {
    condition     = !try(var.cloud.floating_ip, false) || try(coalesce(var.cloud.external_network), "") != ""
    error_message = "floating_ip wants external_network: the name of the network that floating IPs come from."
  }

  validation {
    condition     = alltrue([for source in try(var.cloud.ssh_from, []) : can(cidrhost(source, 0))])
    error_message = "ssh_from is a list of subnets like 192.0.2.7/32."
  }

  validation {
    condition = contains(
      ["", "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"],
      try(coalesce(var.cloud.server_group), "")
    )
    error_message = "server_group is affinity, anti-affinity, soft-affinity or soft-anti-affinity."
  }

  validation {
    condition = try(var.cloud.shared_storage, null) == null || alltrue([
      for key in ["flavor", "image", "address"] : can(coalesce(var.cloud.shared_storage[key]))
    ])
    error_message = "shared_storage wants flavor, image and address."
  }

  validation {
    condition     = alltrue([for time in values(try(var.cloud.timeouts, {})) : can(regex("^([0-9]+[hms])+$", time))])
    error_message = "timeouts are written like 20m or 1h30m."
  }
}

variable "key_pair" {
  description = "The control host's public key, as text."
  type        = string

  validation {
    condition     = can(regex("^(ssh-|ecdsa-|sk-)", var.key_pair))
    error_message = "key_pair is the text of a public SSH key."
  }
}

variable "login" {
  description = "The login node, where slurmctld runs. Without ids image and flavor are looked up by name."
  type = object({
    name      = string
    address   = string
    image     = string
    image_id  = optional(string, "")
    flavor    = string
    flavor_id = optional(string, "")
  })

  validation {
    condition     = can(cidrhost("${var.login.address}/32", 0))
    error_message = "login.address is an IPv4 address."
  }
}
