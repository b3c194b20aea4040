variable "name" {
  type        = string
  default     = "slurm-powersave-control"
  description = "Name of the control host, and of what is made for it."
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,61}[a-z0-9]$", var.name))
    error_message = "A host name: lower-case letters, digits and -, a letter first."
  }
}

variable "image" {
  type        = string
  description = "Name of its image: Debian 12 (tested) or Ubuntu 24.04 (not tested), Rocky or Alma 9 (not tested), with cloud-init."
}

variable "flavor" {
  type        = string
  description = "Name of its flavor: 2 cores, 4 GiB of RAM and 20 GiB of disk are enough for hundreds of nodes."
}

variable "zone" {
  type        = string
  default     = ""
  description = "Its availability zone; empty: the cloud chooses."
}

variable "public_key" {
  type        = string
  description = "The public SSH key that may log in, as text."
  validation {
    condition     = can(regex("^(ssh-|ecdsa-|sk-)\\S+ \\S+", var.public_key))
    error_message = "The text of a public key, such as file(\"~/.ssh/id_ed25519.pub\") holds it."
  }
}

variable "ssh_from" {
  type        = list(string)
  description = "Networks from where its SSH is reached, such as [\"192.0.2.0/24\"]. Nothing else comes in."
  validation {
    condition     = length(var.ssh_from) > 0 && alltrue([for net in var.ssh_from : can(cidrhost(net, 0))])
    error_message = "At least one network in CIDR notation."
  }
}

variable "external_network" {
  type        = string
  default     = ""
  description = "Name of the external network for the router and the floating IP; empty: neither is made."
}

variable "floating_ip" {
  type        = bool
  default     = true
  description = "Whether it gets a floating IP of the external network."
}

variable "network_id" {
  type        = string
  default     = ""
  description = "Id of an existing network; empty: network, subnet and router are made here, and the cluster uses them, too."
}

variable "subnet_id" {
  type        = string
  default     = ""
  description = "Id of a subnet of the existing network."
  validation {
    condition     = var.subnet_id == "" || can(regex("^[0-9a-f-]{32,36}$", var.subnet_id))
    error_message = "An id as `openstack subnet list` shows it."
  }
}

variable "cidr" {
  type        = string
  default     = "10.0.0.0/16"
  description = "The subnet that is made. Its last 250 addresses are given out by DHCP; nodes have fixed ones before them."
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && can(cidrhost(var.cidr, 1000))
    error_message = "An IPv4 network of at least 1,024 addresses."
  }
}

variable "dns" {
  type        = list(string)
  default     = []
  description = "Name servers of the subnet that is made; empty: the cloud's own."
}

variable "toolkit" {
  type        = string
  description = "What pip installs there: git+https://HOST/REPOSITORY@TAG, or the URL of a wheel or an sdist."
  validation {
    condition     = length(trimspace(var.toolkit)) > 0 && !can(regex("[[:cntrl:]]", var.toolkit))
    error_message = "A requirement for pip."
  }
}

variable "terraform_sha256" {
  type        = string
  description = "SHA-256 of the archive of Terraform that is installed there, from the publisher's checksum file."
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.terraform_sha256))
    error_message = "64 hexadecimal digits, as in terraform_1.11.4_SHA256SUMS."
  }
}

variable "application_credential" {
  type        = bool
  default     = true
  description = "Whether an application credential is made for the engine. Its secret is then in this module's state."
}

variable "credential_expires_at" {
  type        = string
  default     = null
  description = "When the application credential ends, such as 2027-01-31T00:00:00Z; null: never."
}

variable "auth_url" {
  type        = string
  default     = ""
  description = "Keystone's address for the engine's clouds.yaml (OS_AUTH_URL); only with application_credential."
}

variable "region" {
  type        = string
  default     = ""
  description = "The region for the engine's clouds.yaml; empty: the cloud's only one."
}

variable "settings" {
  type        = map(string)
  default     = {}
  description = "Variables of playbooks/control_host.yml. Everybody on that host can read them: no secrets."
}
