variable "cluster" {
  description = "The cluster's name; becomes the tag cluster=NAME."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.cluster))
    error_message = "A cluster's name has 1 to 31 lower case letters, digits and hyphens, and starts with a letter."
  }
}

variable "cloud" {
  description = "The cloud's settings from the cluster file: root, bridge, subnet, images."
  type        = any

  validation {
    condition     = can(regex("^/", var.cloud.root))
    error_message = "The local cloud wants root: an absolute path."
  }
}

variable "key_pair" {
  description = "The public key, as text, that may log in as root."
  type        = string
}

variable "nodes" {
  description = "The servers of this state, by node name."
  type = map(object({
    pool      = string
    image     = string
    flavor    = string
    zone      = string
    address   = string
    operation = string
    shard     = string
  }))
  default = {}
}
