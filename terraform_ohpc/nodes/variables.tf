variable "cluster" {
  description = "The cluster's name; becomes the tag cluster=NAME."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.cluster))
    error_message = "A cluster's name has 1 to 31 lower case letters, digits and hyphens, and starts with a letter."
  }
}

variable "cloud" {
  description = "The cloud's settings from the cluster file. Used here: cloud, region, force_delete, timeouts."
  type        = any
  default     = {}

  validation {
    condition     = !can(var.cloud.boot_from_volume) && !can(var.cloud.volume_size)
    error_message = "Nodes boot from their flavor's disk: a server whose root disk is a volume can't be rebuilt in place. Choose flavors with a disk."
  }

  validation {
    condition     = can(tobool(try(var.cloud.force_delete, false)))
    error_message = "force_delete is true or false."
  }

  validation {
    condition     = alltrue([for time in values(try(var.cloud.timeouts, {})) : can(regex("^([0-9]+[hms])+$", time))])
    error_message = "timeouts are written like 20m or 1h30m."
  }
}

variable "key_pair" {
  description = "The public key, as text, that may log in. The servers get the key pair that the base module made of it."
  type        = string
  default     = ""
}

variable "base" {
  description = "What the base module made (its output `shared`): network, key pair, security groups, server group."
  type        = any
  default     = {}

  validation {
    condition     = var.base == {} || alltrue([for key in ["network_id", "key_pair", "security_groups"] : can(var.base[key])])
    error_message = "base wants network_id, key_pair and security_groups: the output `shared` of the base module."
  }
}

variable "nodes" {
  description = "The servers of this state, by node name. Ids of image and flavor, as the cloud's names stand for them."
  type = map(object({
    pool      = string
    image     = string
    image_id  = string
    flavor    = string
    flavor_id = string
    zone      = string
    address   = string
    operation = string
    shard     = string
  }))
  default = {}

  validation {
    condition     = alltrue([for node in var.nodes : node.image_id != "" && node.flavor_id != ""])
    error_message = "Each node wants the ids of its image and flavor."
  }
}
