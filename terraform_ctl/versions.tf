terraform {
  required_version = ">= 1.5"
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = ">= 3.4.0, < 4.0.0"
    }
  }
}

# Everything that the provider needs it takes from OS_CLOUD with clouds.yaml, or from the variables of an RC file.
provider "openstack" {}
